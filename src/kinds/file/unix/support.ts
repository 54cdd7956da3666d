/** Which unix sockets can be carried: those without a name, alone or connected with one another. Pure. */
import { SK_STATE, SOCK } from '../../../kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';

/** Why not, and what lifts it. */
export interface Refusal {
  readonly reason: string;
  readonly remedy: string;
}

const CLOSE = 'close it before the dump';

/** What a socket is. */
export type Standing =
  /** Never connected, or no more. */
  | 'single'
  /** One of a pair. */
  | 'paired'
  /** One of a pair whose other end is closed. */
  | 'orphaned';

/** Both directions. */
const BOTH = 3;

/** What a socket is, or why it cannot be carried; `find` answers another one, `isOurs` whether it belongs to the tree. */
export function standingOf(
  socket: UnixSocket | undefined,
  find: (ino: number) => UnixSocket | undefined,
  isOurs: (ino: number) => boolean,
): Standing | Refusal {
  if (!socket) return { reason: 'the kernel does not list it: it is of another network namespace', remedy: CLOSE };
  const { name, state, type, peer, shutdown } = socket;
  if (state === SK_STATE.LISTEN) return { reason: 'listening unix sockets are not carried yet', remedy: CLOSE };
  if (name) return { reason: `unix sockets with a name (${shown(name)}) are not carried yet`, remedy: CLOSE };
  if (state === SK_STATE.CLOSE && !peer) return 'single';
  if (peer === undefined && type === SOCK.DGRAM) return 'single';
  if (!peer) {
    const waits = type !== SOCK.DGRAM && shutdown !== BOTH;
    return waits ? { reason: 'the connection has not been accepted yet', remedy: CLOSE } : 'orphaned';
  }
  const other = find(peer);
  if (other?.name) {
    return { reason: `its peer has a name (${shown(other.name)}), which is not carried yet`, remedy: CLOSE };
  }
  if (!isOurs(peer)) return outside(peer);
  if (other && other.peer !== socket.ino) {
    return { reason: `its peer socket:[${peer}] is not connected with it any more`, remedy: CLOSE };
  }
  return 'paired';
}

function outside(peer: number): Refusal {
  return {
    reason: `the other end, socket:[${peer}], is held by a process that is not in the tree; such connections are not carried yet`,
    remedy: 'dump the processes together that share it, or close it before the dump',
  };
}

/** A name as people write it: abstract ones begin with @. */
export function shown(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1').replace(/\0+$/, '').replaceAll('\0', '@');
}
