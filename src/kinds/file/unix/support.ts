/** How a unix socket is connected, and whether that can be carried. Pure. */
import type { ErrorCode } from '../../../base/error-codes.ts';
import type { CarryOptions } from '../../../contract/contract.ts';
import { SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';

/** The reason and the remedy. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly remedy: string;
}

/** How a socket is connected. */
export type Standing =
  /** Not connected; a listening socket too. */
  | 'single'
  /** Connected with another one of the tree, and that with it. */
  | 'paired'
  /** A datagram socket that sends to another one of the tree, which is not connected with it. */
  | 'oneWay'
  /** Its peer is closed. */
  | 'orphaned'
  /** It waits to be accepted by a listening socket of the tree. */
  | 'pending'
  /** Its peer is ours: by it the process has asked to be dumped. */
  | 'ours'
  /** Its peer is outside of the tree. What happens to the connection: */
  | OutsideFate;

/**
 * `external`: the user gives a descriptor for it (--inherit-fd), or it is connected again by name. `reconnect`: it is
 * connected again by the name of its peer. `reset`: it finds its peer closed.
 */
export type OutsideFate = 'external' | 'reconnect' | 'reset';

/** What is to be known of the other sockets. */
export interface Around {
  /** Looks up another socket. */
  find(ino: number): UnixSocket | undefined;
  /** Whether a socket belongs to the tree. */
  isOurs(ino: number): boolean;
  /** The listening socket that a connection waits in. */
  listenerOf(ino: number): UnixSocket | undefined;
  readonly options: CarryOptions;
}

/** Both directions. */
const BOTH = 3;

const CLOSE = 'have the program close it before the dump';

/** How a socket is connected, or why it cannot be carried. */
export function standingOf(socket: UnixSocket | undefined, around: Around): Standing | Refusal {
  if (!socket) {
    const reason = 'the kernel does not list it: it is of a network namespace that no process of the tree is in';
    return { code: 'SOCKET_OTHER_NAMESPACE', reason, remedy: CLOSE };
  }
  if (socket.state === TCP_STATE.LISTEN) return refusalOfQueue(socket, around) ?? 'single';
  if (socket.peer === undefined) return 'single';
  if (socket.peer === 0) return withoutPeer(socket, around);
  if (socket.peer === around.options.ownSocket) return 'ours';
  if (!around.isOurs(socket.peer)) return outside(socket, socket.peer, around);
  return around.find(socket.peer)?.peer === socket.ino ? 'paired' : 'oneWay';
}

/** A socket whose peer has no inode: it is closed, or not accepted yet. */
function withoutPeer(socket: UnixSocket, around: Around): Standing | Refusal {
  const listener = around.listenerOf(socket.ino);
  if (listener) {
    if (!around.isOurs(listener.ino)) return outside(socket, listener.ino, around);
    return (socket.sendQueue > 0 && unseenData('it has sent data', around.options)) || 'pending';
  }
  if (socket.type === SOCK.DGRAM || socket.shutdown === BOTH) return 'orphaned';
  const reason = 'the connection has not been accepted yet, by a socket of another network namespace';
  return { code: 'SOCKET_UNIX_PENDING', reason, remedy: 'dump it when the server has accepted the connection' };
}

/** What waits in a listening socket and cannot be carried. */
function refusalOfQueue({ pending }: UnixSocket, around: Around): Refusal | undefined {
  const closed = pending.includes(0) ? unseenData('the client has closed it meanwhile', around.options) : undefined;
  if (closed) return closed;
  const stranger = pending.find((ino) => ino !== 0 && !around.isOurs(ino));
  if (stranger === undefined || around.options.unixPeer === 'reset') return undefined;
  return {
    code: 'SOCKET_UNIX_OUTSIDE',
    reason: `a connection waits to be accepted, of socket:[${stranger}], which a process outside of the tree has`,
    remedy: 'dump it when the server has accepted the connection, or let it go with --unix-peer reset',
  };
}

/**
 * What a client has sent can be read only from an accepted connection, and that cannot be put back. So it is saved when
 * the images are complete and the tasks are about to be killed (waiting.ts).
 */
function unseenData(why: string, { leaveRunning, inOneFile }: CarryOptions): Refusal | undefined {
  if (!leaveRunning && !inOneFile) return undefined;
  const [when, how] = leaveRunning
    ? ['that can be saved only if the tasks do not go on', 'without --leave-running and --leave-stopped']
    : ['that can be saved only when the rest is complete, which one file has to be before', 'into a folder (-D)'];
  return {
    code: 'SOCKET_UNIX_PENDING',
    reason: `a connection waits to be accepted, and ${why}: ${when}`,
    remedy: `dump it when the server has accepted the connection, or ${how}`,
  };
}

/** A socket whose peer is outside of the tree: what the user has said to do with it. */
function outside({ ino, type }: UnixSocket, peer: number, around: Around): OutsideFate | Refusal {
  const { options } = around;
  const name = around.find(peer)?.name;
  if (isListed(ino, options)) return 'external';
  if (options.unixPeer === 'reset') return 'reset';
  if (name && options.unixPeer === 'reconnect') return 'reconnect';
  // As with CRIU, inodes after --ext-unix-sk allow all datagram sockets that are connected to a name as well.
  if (name && type === SOCK.DGRAM && options.extUnixSockets !== 'none') return 'reconnect';
  const where = name ? ` as ${showUnixName(name)}` : '';
  return {
    code: 'SOCKET_UNIX_OUTSIDE',
    reason: `the other end, socket:[${peer}]${where}, is held by a process that is not in the tree`,
    remedy: outsideRemedy(ino, type, name !== undefined),
  };
}

function isListed(ino: number, { external, extUnixSockets }: CarryOptions): boolean {
  return external.includes(`unix[${ino}]`) || (typeof extUnixSockets === 'object' && extUnixSockets.has(ino));
}

function outsideRemedy(ino: number, type: number, isNamed: boolean): string {
  const reset = '--unix-peer reset lets it find its peer closed';
  const given = `with --external 'unix[${ino}]' another end is given at the restore (--inherit-fd 'fd[N]:socket:[${ino}]')`;
  if (!isNamed) return `dump both processes together; or ${reset}; or ${given}`;
  const again = type === SOCK.DGRAM ? '--ext-unix-sk' : '--unix-peer reconnect';
  return `${again}, at the dump and at the restore, connects it again by name; ${reset}; ${given}`;
}
