/** Tables of nf_tables that are temporary, and what a Stasis that was killed has left of them. */

import { hostPid } from '../../../base/brands.ts';
import { logInfo } from '../../../base/log.ts';
import { NFT_TABLE_F } from '../../../kernel/constants/nftables.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { listTables, NftBatch } from '../../../kernel/netlink/nftables.ts';
import { NetlinkError, type NetlinkSocket } from '../../../kernel/netlink/socket.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStat } from '../../../kernel/proc/stat.ts';
import { hasEnded } from '../../../kernel/proc/tree.ts';
import { ERRNO } from '../../../kernel/syscall.ts';

const PREFIX = 'stasis';

/** The comment of a table of ours: who has made it. A process ID alone says nothing in another PID namespace. */
export function ownComment(): string {
  const { starttime } = parseStat(readProc('self', 'stat'));
  return `${PREFIX} ${process.pid} ${starttime} ${namespaceOf('self', 'pid') ?? 0}`;
}

/** The name of a table that exists as long as we have its socket. */
export function ownTable(): string {
  return `${PREFIX}-${process.pid}-${namespaceOf('self', 'pid') ?? 0}`;
}

/**
 * Removes tables that were to lock the connections of a tree after its end, and have never done so: their Stasis was
 * killed before it had saved the tree. They saw no packets, so nothing was locked.
 */
export function removeLeftovers(socket: NetlinkSocket): void {
  const ownNamespace = namespaceOf('self', 'pid') ?? 0;
  for (const { name, flags, comment } of listTables(socket)) {
    const maker = /^stasis (\d+) (\d+) (\d+)$/.exec(comment ?? '');
    if (!maker || !(flags & NFT_TABLE_F.DORMANT)) continue;
    const [pid = 0, starttime = 0, namespace] = maker.slice(1).map(Number);
    if (namespace !== ownNamespace || !hasEnded(hostPid(pid), starttime)) continue;
    logInfo(`table ${name} was left by a Stasis that was killed, and is removed`);
    deleteTableIfAny(socket, name);
  }
}

/** Returns whether there was one. @throws NetlinkError */
export function deleteTableIfAny(socket: NetlinkSocket, name: string): boolean {
  try {
    socket.transact(new NftBatch().deleteTable(name).messages());
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ERRNO.ENOENT) return false;
    throw error;
  }
}
