/**
 * What an open file is, in words for people and fields for programs: told when there is an obstacle, so it may take
 * time.
 */
import type { ObjectFacts } from '../../base/errors.ts';
import type { OpenFile } from '../../contract/contract.ts';
import { type SocketAddress, showSocketAddress } from '../../kernel/socket-address.ts';
import { type SocketFacts, socketFacts } from '../../kernel/socket-facts.ts';
import { peerInode, type SocketHolder, socketHolders } from '../../kernel/socket-peers.ts';

/** A socket as it is told of: what it is, and who has its other end. */
export interface SeenSocket extends SocketFacts {
  readonly inode: number;
  /** The process at the other end, if it is on this machine. */
  readonly peer: SocketHolder | undefined;
}

/** Looks at the sockets among some open files, by inode. All at once: the search for their peers goes through /proc. */
export function lookAtSockets(files: readonly OpenFile[]): Map<number, SeenSocket> {
  const seen = new Map<number, SocketFacts>();
  const peers = new Map<number, number>();
  for (const { local, link, stat } of files) {
    if (!link.startsWith('socket:[') || seen.has(stat.ino)) continue;
    const facts = socketFacts(local);
    if (!facts) continue;
    seen.set(stat.ino, facts);
    const peer = peerInode(local, stat.ino, facts);
    if (peer !== undefined) peers.set(stat.ino, peer);
  }
  const holders = socketHolders(new Set(peers.values()));
  const peerOf = (ino: number): SocketHolder | undefined => holders.get(peers.get(ino) ?? 0);
  return new Map([...seen].map(([ino, facts]) => [ino, { ...facts, inode: ino, peer: peerOf(ino) }]));
}

/** How an open file is named: `socket:[17], TCP, listening at 127.0.0.1:80`, or what its link in /proc says. */
export function nameOf(file: OpenFile, socket: SeenSocket | undefined): string {
  return socket ? `${file.link}, ${describeSocket(socket)}` : file.link;
}

/** The fields of an open file for `--json`. */
export function objectOf(file: OpenFile, socket: SeenSocket | undefined): ObjectFacts {
  if (socket) {
    const { type: kind, ...facts } = socket;
    return { type: 'socket', kind, ...facts };
  }
  const { dev, ino } = file.stat;
  const anonymous = /^anon_inode:\[?([^\]]+)/.exec(file.link)?.[1];
  if (anonymous !== undefined) return { type: anonymous };
  const special = /^(\w+):\[\d+\]$/.exec(file.link)?.[1];
  return special === undefined
    ? { type: 'file', path: file.link, device: dev, inode: ino }
    : { type: special, inode: ino };
}

/** A socket in a few words: protocol, state, addresses, and the process at its other end. */
export function describeSocket(socket: SeenSocket): string {
  const { state, remote, peer } = socket;
  const words = [titleOf(socket)];
  const local = socket.local && (socket.local.family !== 'unix' || socket.local.path) ? socket.local : undefined;
  if (state === 'listen') words.push(`listening${local ? ` at ${showSocketAddress(local)}` : ''}`);
  else if (remote) {
    words.push(connection(local, remote));
    if (state !== undefined && state !== 'connected') words.push(state);
  } else if (state === 'connected') words.push(local ? `connected, bound to ${showSocketAddress(local)}` : 'connected');
  else words.push(local ? `bound to ${showSocketAddress(local)}` : 'not connected');
  if (peer) words.push(`its peer is fd ${peer.fd} of task ${peer.pid} (${peer.comm})`);
  return words.join(', ');
}

function connection(local: SocketAddress | undefined, remote: SocketAddress): string {
  return `${local ? `${showSocketAddress(local)} ` : ''}connected to ${showSocketAddress(remote)}`;
}

function titleOf({ family, type, protocol }: SocketFacts): string {
  if (family === 'unix') return `unix ${type}`;
  if (family === 'netlink' || protocol === undefined) return [family, protocol ?? type].join(' ');
  return protocol.toUpperCase();
}
