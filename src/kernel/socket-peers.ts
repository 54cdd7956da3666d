/**
 * Who is at the other end of a socket, as far as that is a process of this machine. Told in errors and reports: it
 * takes a look at every descriptor of every process.
 */
import type { LocalFd } from '../base/brands.ts';
import { AF, IPPROTO } from './constants/sockets.ts';
import { namesIn, tryReadLink } from './files.ts';
import { type InetEnd, inetSocketBetween } from './netlink/inet-diag.ts';
import { unixSocketWith } from './netlink/unix-diag.ts';
import { readProc } from './proc/read.ts';
import { parseStat } from './proc/stat.ts';
import { allProcesses, unlessGone } from './proc/tree.ts';
import { rawAddress, type SocketFacts } from './socket-facts.ts';

/** A process that has a socket open, and the number it has it under. */
export interface SocketHolder {
  readonly pid: number;
  readonly comm: string;
  readonly fd: number;
}

/**
 * The inode of the socket another one is connected with; `local` is our descriptor for it, `ino` its inode. Undefined
 * if there is none, it is of another machine or network namespace, or the kernel cannot tell.
 * @throws StasisError
 */
export function peerInode(local: LocalFd, ino: number, facts: SocketFacts): number | undefined {
  if (facts.family === 'unix') return unixSocketWith(ino)?.peer || undefined;
  const protocol = facts.protocol === 'tcp' ? IPPROTO.TCP : facts.protocol === 'udp' ? IPPROTO.UDP : undefined;
  const own = inetEnd(rawAddress('getsockname', local));
  const remote = inetEnd(rawAddress('getpeername', local));
  if (protocol === undefined || !own || !remote) return undefined;
  // Addresses like 127.0.0.1 are there in every network namespace: the socket itself must be of ours.
  if (inetSocketBetween(protocol, own, remote) !== ino) return undefined;
  return inetSocketBetween(protocol, remote, own) || undefined;
}

/** The end of a connection that a `struct sockaddr_in` or `sockaddr_in6` tells. */
function inetEnd(address: Uint8Array | undefined): InetEnd | undefined {
  if (!address || address.length < 8) return undefined;
  const family = new DataView(address.buffer, address.byteOffset).getUint16(0, true);
  const port = address.subarray(2, 4);
  if (family === AF.INET) return { port, address: address.subarray(4, 8) };
  return family === AF.INET6 && address.length >= 24 ? { port, address: address.subarray(8, 24) } : undefined;
}

/** The first process that has each of some sockets open, by inode; Stasis itself, which borrows them, is not told. */
export function socketHolders(inodes: ReadonlySet<number>): Map<number, SocketHolder> {
  const found = new Map<number, SocketHolder>();
  if (inodes.size === 0) return found;
  for (const pid of allProcesses()) {
    if (pid === process.pid) continue;
    for (const fd of (unlessGone(() => namesIn(`/proc/${pid}/fd`)) ?? []).map(Number)) {
      const ino = socketInode(tryReadLink(`/proc/${pid}/fd/${fd}`));
      if (ino === undefined || !inodes.has(ino) || found.has(ino)) continue;
      const comm = unlessGone(() => parseStat(readProc(pid, 'stat')).comm);
      if (comm !== undefined) found.set(ino, { pid, comm, fd });
    }
  }
  return found;
}

function socketInode(link: string | number): number | undefined {
  const digits = typeof link === 'string' ? /^socket:\[(\d+)\]$/.exec(link)?.[1] : undefined;
  return digits === undefined ? undefined : Number(digits);
}
