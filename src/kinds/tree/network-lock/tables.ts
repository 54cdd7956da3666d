/** Tables of nf_tables that are temporary, and what a Stasis that was killed has left of them. */

import { hostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logInfo } from '../../../base/log.ts';
import { NFT_TABLE_F } from '../../../kernel/constants/nftables.ts';
import { listTables, NftBatch } from '../../../kernel/netlink/nftables.ts';
import { NetlinkError, type NetlinkSocket } from '../../../kernel/netlink/socket.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStat } from '../../../kernel/proc/stat.ts';
import { ERRNO } from '../../../kernel/syscall.ts';

const PREFIX = 'stasis';

/** The comment of a table of ours: who has made it. */
export function ownComment(): string {
  return `${PREFIX} ${process.pid} ${parseStat(readProc('self', 'stat')).starttime}`;
}

/** The name of a table that exists as long as we have its socket. */
export function ownTable(): string {
  return `${PREFIX}-${process.pid}`;
}

/**
 * Removes tables that were to lock the connections of a tree after its end, and have never done so: their Stasis was
 * killed before it had saved the tree. They saw no packets, so nothing was locked.
 */
export function removeLeftovers(socket: NetlinkSocket): void {
  for (const { name, flags, comment } of listTables(socket)) {
    const [, pid, starttime] = /^stasis (\d+) (\d+)$/.exec(comment ?? '') ?? [];
    if (pid === undefined || !(flags & NFT_TABLE_F.DORMANT) || isRunning(Number(pid), Number(starttime))) continue;
    logInfo(`table ${name} was left by a Stasis that was killed, and is removed`);
    deleteTableIfAny(socket, name);
  }
}

function isRunning(pid: number, starttime: number): boolean {
  try {
    return parseStat(readProc(hostPid(pid), 'stat')).starttime === starttime;
  } catch (error) {
    if (error instanceof StasisError && error.kind === 'gone') return false;
    throw error;
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
