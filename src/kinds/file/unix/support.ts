/** Which unix sockets can be carried: those without a name, alone or connected with one another. Pure. */
import type { ErrorCode } from '../../../base/error-codes.ts';
import { SK_STATE, SOCK } from '../../../kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';

/** The reason and the remedy. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly remedy: string;
}

const CLOSE = 'have the program close it before the dump';
const SERVER = 'no option lifts this; criu carries them, and its images are of the same format';

/** How a socket is connected. */
export type Standing =
  /** Not connected. */
  | 'single'
  /** One of a pair. */
  | 'paired'
  /** One of a pair whose other end is closed. */
  | 'orphaned';

/** Both directions. */
const BOTH = 3;

/**
 * How a socket is connected, or why it cannot be carried. `find` looks up another socket, `isOurs` says whether one
 * belongs to the tree.
 */
export function standingOf(
  socket: UnixSocket | undefined,
  find: (ino: number) => UnixSocket | undefined,
  isOurs: (ino: number) => boolean,
): Standing | Refusal {
  if (!socket) {
    const reason = 'the kernel does not list it: it is of another network namespace';
    return { code: 'SOCKET_OTHER_NAMESPACE', reason, remedy: CLOSE };
  }
  const { name, state, type, peer, shutdown } = socket;
  if (state === SK_STATE.LISTEN) {
    return { code: 'SOCKET_UNIX_LISTENING', reason: 'listening unix sockets are not carried yet', remedy: SERVER };
  }
  if (name) {
    const reason = `unix sockets with a name (${showUnixName(name)}) are not carried yet`;
    return { code: 'SOCKET_UNIX_NAMED', reason, remedy: SERVER };
  }
  if (state === SK_STATE.CLOSE && !peer) return 'single';
  if (peer === undefined && type === SOCK.DGRAM) return 'single';
  if (!peer) {
    const waits = type !== SOCK.DGRAM && shutdown !== BOTH;
    if (!waits) return 'orphaned';
    const reason = 'the connection has not been accepted yet';
    return { code: 'SOCKET_UNIX_PENDING', reason, remedy: 'dump it when the server has accepted the connection' };
  }
  const other = find(peer);
  if (other?.name) {
    const reason = `its peer has a name (${showUnixName(other.name)}), which is not carried yet`;
    return { code: 'SOCKET_UNIX_NAMED', reason, remedy: CLOSE };
  }
  if (!isOurs(peer)) return outside(peer);
  if (other && other.peer !== socket.ino) {
    const reason = `its peer socket:[${peer}] is not connected with it any more`;
    return { code: 'SOCKET_UNIX_ONE_WAY', reason, remedy: CLOSE };
  }
  return 'paired';
}

function outside(peer: number): Refusal {
  return {
    code: 'SOCKET_UNIX_OUTSIDE',
    reason: `the other end, socket:[${peer}], is held by a process that is not in the tree; such connections are not carried yet`,
    remedy: 'dump the processes together that share it, or close it before the dump',
  };
}
