/** Tables of nf_tables that dumps and restores of these tests have made: finding them, and removing what is left. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NETLINK } from '../../../src/kernel/constants/netlink.ts';
import { listTables, type NftTable } from '../../../src/kernel/netlink/nftables.ts';
import { NetlinkError, NetlinkSocket } from '../../../src/kernel/netlink/socket.ts';
import { deleteTableIfAny } from '../../../src/kinds/tree/network-lock/tables.ts';
import { lockTable } from '../../../src/network/lock-rules.ts';

/** Process IDs of the Stasis that these tests have killed. */
const killed = new Set<number>();

/** Notes that a Stasis has been killed, whose tables are removed in the end. */
export function noteKilled(pid: number): void {
  killed.add(pid);
}

/** The tables that Stasis processes with some IDs have made and that are there: each has its maker in its comment. */
export function tablesBy(pids: ReadonlySet<number> = killed): NftTable[] {
  return withSocket(listTables).filter(({ comment }) => {
    const [, pid] = /^stasis (\d+) \d+ \d+$/.exec(comment ?? '') ?? [];
    return pid !== undefined && pids.has(Number(pid));
  });
}

/** The name of the table that the dump in a folder has left, if it locked connections; undefined of no whole dump. */
export function tableOfDump(images: string): string | undefined {
  try {
    const inventory = readFileSync(join(images, 'inventory.img'), 'latin1');
    const run = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(inventory)?.[0];
    return run && lockTable(run);
  } catch {
    return undefined;
  }
}

/** Whether there is a table of a name. */
export function hasTable(name: string | undefined): boolean {
  return withSocket(listTables).some((table) => table.name === name);
}

/** Removes the tables of the dumps in a folder's `images-…`, and those of every Stasis that was killed. */
export function removeTables(folder: string): void {
  const dumps = readdirSync(folder).filter((name) => name.startsWith('images-'));
  const names = dumps.flatMap((name) => tableOfDump(join(folder, name)) ?? []);
  if (names.length === 0 && killed.size === 0) return;
  const there = new Set(withSocket(listTables).map(({ name }) => name));
  const left = [...names.filter((name) => there.has(name)), ...tablesBy().map(({ name }) => name)];
  if (left.length > 0) withSocket((socket) => left.map((name) => deleteTableIfAny(socket, name)));
}

/** What `use` finds out; nothing where nf_tables is not there, or not allowed. */
function withSocket<T>(use: (socket: NetlinkSocket) => T[]): T[] {
  try {
    using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
    return use(socket);
  } catch (error) {
    if (error instanceof NetlinkError) return [];
    throw error;
  }
}
