/**
 * Makes connections of TCP by a handshake with segments that are made here, with sequence numbers of our choice: the
 * only way to have one in the queue of a listening socket, and one that uses ECN. Repair mode can do neither.
 *
 * The kernel chooses the first sequence number of a connection that it accepts, with one exception: a SYN that comes in
 * for a socket in TIME_WAIT, between the same ends, has the listening socket answer from beyond what that socket has
 * used (`tcp_timewait_state_process()` in net/ipv4/tcp_minisocks.c: `tw_snd_nxt + 65535 + 2`). And a socket in
 * TIME_WAIT can be had: repair mode makes a connection with any numbers, and it ends by a FIN of each side.
 *
 * The network must be locked for the two ends: what the kernel answers is not for the real other end.
 */
import { StasisError } from '../base/errors.ts';
import type { InputOf } from '../images/message.ts';
import type { tcpStreamEntry } from '../images/schema/sockets.ts';
import { REPAIR, REPAIR_QUEUE, TCP, TCPI_OPT } from '../kernel/constants/inet.ts';
import { AF, IPPROTO, SHUT, SOCK, TCP_STATE } from '../kernel/constants/sockets.ts';
import { connectionBetween, type InetEnd } from '../kernel/netlink/inet-diag.ts';
import { getNumberIfAny, setNumber, trySetNumber } from '../kernel/sockets.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { showPacketEnd, sockaddrOfEnd } from './end-fields.ts';
import { ForgedPeer } from './forged-peer.ts';
import { allowFreebind } from './freebind.ts';
import { SEGMENT, synOptions } from './tcp-segment.ts';
import { tcpInfo } from './tcp-state.ts';

/** A connection to be made: as an image has it, from the view of the end that is here. */
export interface WantedConnection {
  readonly own: InetEnd;
  readonly remote: InetEnd;
  /** ESTABLISHED, CLOSE_WAIT, or CLOSE: the other end has reset it. */
  readonly state: number;
  readonly entry: InputOf<typeof tcpStreamEntry>;
  /** The bytes that have come in. Nothing was sent yet. */
  readonly inq: Uint8Array;
  /** Size of its receive buffer, as SO_RCVBUF tells it. */
  readonly receiveBuffer: number;
}

/** How much further than what a socket in TIME_WAIT has sent the next connection begins. */
const TIME_WAIT_STEP = 65535 + 2;
/** How far before the first sequence number of the other end that of the socket in TIME_WAIT is: any would do. */
const BEFORE = 16;

/** How often something is sent, and how many milliseconds its effect is waited for. */
const TRIES = 40;
const PAUSE = 25;

/** Bytes of a segment: with all headers it fits into 16 KiB of the kernel's memory. */
const LARGEST_PIECE = 15_872;
const SMALLEST_PIECE = 512;
/** Bytes of memory for such a segment: the kernel takes powers of two, and `struct sk_buff`. */
const BUFFER_HEAD = 256;
const PIECE_MEMORY = 16_384 + BUFFER_HEAD;
/** Headers, and `struct skb_shared_info`. */
const PIECE_OVERHEAD = 512;
/** What every first window lets in, unless the buffer is smaller. */
const SMALL_WINDOW = 32 * 1024;

const LARGEST_WINDOW = 0xffff;

/** The first sequence numbers of both ends. */
function startsOf({ state, entry: { inq_seq, inq_len, outq_seq, outq_len } }: WantedConnection): {
  readonly theirs: number;
  readonly ours: number;
} {
  const fin = state === TCP_STATE.CLOSE_WAIT ? 1 : 0;
  return { theirs: (inq_seq - fin - inq_len - 1) >>> 0, ours: (outq_seq - outq_len - 1) >>> 0 };
}

/**
 * Makes a connection, which a listening socket of the own end has in its queue then, with all that has come in.
 * `whenAsked` is called when the SYN is answered: what is of the listening socket then is of the connection, too, but
 * for the size of windows and their scale.
 * @throws StasisError if it does not come about
 */
export function makeInQueue(wanted: WantedConnection, whenAsked: () => void): void {
  using peer = new ForgedPeer(wanted.own, wanted.remote);
  leaveTimeWait(wanted, peer);
  ask(wanted, peer);
  whenAsked();
  acknowledge(wanted, peer);
  const sent = sendBytes(wanted, peer);
  endAsBefore(wanted, peer, sent);
}

/** Leaves a socket in TIME_WAIT that has the next connection begin where it is to. */
function leaveTimeWait(wanted: WantedConnection, peer: ForgedPeer): void {
  const { own, remote } = wanted;
  const { theirs, ours } = startsOf(wanted);
  if (ours === 0) throw failed(wanted, 'the kernel would not begin with the sequence number 0');
  const family = own.address.length === 4 ? AF.INET : AF.INET6;
  using socket = new Fd(syscall('socket', family, SOCK.STREAM | SOCK.CLOEXEC, IPPROTO.TCP));
  const set = (name: number, value: number): void => setNumber(socket.number, name, value, IPPROTO.TCP);
  set(TCP.REPAIR, REPAIR.ON);
  allowFreebind(socket.number, family, true);
  const [from, to] = [sockaddrOfEnd(own), sockaddrOfEnd(remote)];
  syscall('bind', socket.number, from, from.length);
  const [first, last] = [(theirs - BEFORE) >>> 0, (ours - TIME_WAIT_STEP) >>> 0];
  set(TCP.REPAIR_QUEUE, REPAIR_QUEUE.RECEIVE);
  set(TCP.QUEUE_SEQ, first);
  set(TCP.REPAIR_QUEUE, REPAIR_QUEUE.SEND);
  set(TCP.QUEUE_SEQ, last - 1); // its FIN takes one
  let connected = -1;
  repeat(
    () => connected === 0,
    () => {
      connected = trySyscall('connect', socket.number, to, to.length);
      if (connected === -ERRNO.EADDRNOTAVAIL) endRemains(wanted, peer);
      else if (connected < 0) throw new SyscallError('connect', -connected, { resource: showPacketEnd(remote) });
    },
    () => failed(wanted, 'there is such a connection on this machine'),
  );
  syscall('shutdown', socket.number, SHUT.WR);
  set(TCP.REPAIR_QUEUE, REPAIR_QUEUE.NONE);
  repeat(
    () => tcpInfo(socket.number).state === TCP_STATE.CLOSE,
    () => peer.send({ sequence: first, acknowledged: last, flags: SEGMENT.FIN | SEGMENT.ACK, window: LARGEST_WINDOW }),
    () => failed(wanted, NOT_COME),
  );
}

const NOT_COME = 'a segment made in place of the other end has not come in';

/**
 * Ends what a Stasis that was killed has left between the two ends: the socket in TIME_WAIT, which would be there for a
 * minute, or a handshake of which no listening socket knows any more.
 */
function endRemains(wanted: WantedConnection, peer: ForgedPeer): void {
  const { theirs } = startsOf(wanted);
  const state = stateOf(wanted);
  const next = state === TCP_STATE.TIME_WAIT ? theirs - BEFORE + 1 : theirs + 1;
  if (state !== TCP_STATE.TIME_WAIT && state !== TCP_STATE.SYN_RECV) return;
  peer.send({ sequence: next, acknowledged: 0, flags: SEGMENT.RST });
}

/** Sends a SYN. */
function ask(wanted: WantedConnection, peer: ForgedPeer): void {
  const { theirs } = startsOf(wanted);
  const { opt_mask, snd_wscale, mss_clamp } = wanted.entry;
  const options = synOptions({
    mss: mss_clamp,
    scale: opt_mask & TCPI_OPT.WSCALE ? snd_wscale : undefined,
    sack: (opt_mask & TCPI_OPT.SACK) !== 0,
    timestamps: (opt_mask & TCPI_OPT.TIMESTAMPS) !== 0,
  });
  const ecn = opt_mask & TCPI_OPT.ECN ? SEGMENT.ECE | SEGMENT.CWR : 0;
  const play = { sequence: theirs, acknowledged: 0, flags: SEGMENT.SYN | ecn, options, window: LARGEST_WINDOW };
  repeat(
    () => stateOf(wanted) === TCP_STATE.SYN_RECV,
    () => peer.send(play),
    () => failed(wanted, `its listening socket takes no connection (${NOT_COME})`),
  );
}

function stateOf({ own, remote }: WantedConnection): number | undefined {
  return connectionBetween(own, remote)?.state;
}

/** Sends the segment that ends the handshake. */
function acknowledge(wanted: WantedConnection, peer: ForgedPeer): void {
  const { theirs, ours } = startsOf(wanted);
  const play = { sequence: theirs + 1, acknowledged: ours + 1, flags: SEGMENT.ACK, window: windowOf(wanted) };
  repeat(
    () => (stateOf(wanted) ?? TCP_STATE.SYN_RECV) !== TCP_STATE.SYN_RECV,
    () => peer.send(play),
    () => failed(wanted, `its listening socket has no room for it (${NOT_COME})`),
  );
}

/** The window of the other end, as its segments tell it. */
function windowOf({ entry: { snd_wnd = LARGEST_WINDOW, snd_wscale } }: WantedConnection): number {
  return Math.min(snd_wnd >>> snd_wscale, LARGEST_WINDOW);
}

/** Bytes of memory that the kernel takes for the segments that {@link makeInQueue} sends, and to let them in. */
export function roomFor(bytes: number): number {
  const segments = Math.floor(bytes / LARGEST_PIECE) * PIECE_MEMORY;
  const rest = bytes % LARGEST_PIECE;
  const last = rest === 0 ? 0 : 2 ** Math.ceil(Math.log2(rest + PIECE_OVERHEAD)) + BUFFER_HEAD;
  // Windows that grow take room that is free, twice what they let in.
  return segments + last + (bytes > SMALL_WINDOW ? 3 * LARGEST_PIECE : 0);
}

/** Sends what had come in. Returns the number of the next byte. */
function sendBytes(wanted: WantedConnection, peer: ForgedPeer): number {
  const { own, remote, inq } = wanted;
  const { theirs, ours } = startsOf(wanted);
  const window = windowOf(wanted);
  const received = (): number => connectionBetween(own, remote)?.received ?? 0;
  let most = LARGEST_PIECE;
  for (let at = 0; at < inq.length; at = received()) {
    const play = { sequence: theirs + 1 + at, acknowledged: ours + 1, flags: SEGMENT.ACK | SEGMENT.PSH, window };
    repeat(
      () => received() > at,
      () => {
        const result = peer.trySend({ ...play, bytes: inq.subarray(at, at + most) });
        // The loopback device may be told to take only small packets.
        if (result === -ERRNO.EMSGSIZE && most > SMALLEST_PIECE) most /= 2;
      },
      () => failed(wanted, `its receive buffer has no room for ${inq.length} bytes (net.ipv4.tcp_rmem)`),
    );
  }
  return (theirs + 1 + inq.length) >>> 0;
}

/** Ends the connection at the other end, if it was. */
function endAsBefore(wanted: WantedConnection, peer: ForgedPeer, next: number): void {
  const { own, remote, state } = wanted;
  if (state === TCP_STATE.ESTABLISHED) return;
  const flags = state === TCP_STATE.CLOSE ? SEGMENT.RST | SEGMENT.ACK : SEGMENT.FIN | SEGMENT.ACK;
  const { ours } = startsOf(wanted);
  repeat(
    () => connectionBetween(own, remote)?.state !== TCP_STATE.ESTABLISHED,
    () => peer.send({ sequence: next, acknowledged: ours + 1, flags, window: LARGEST_WINDOW }),
    () => failed(wanted, NOT_COME),
  );
}

/** Does something again until it has had its effect. */
function repeat(isDone: () => boolean, work: () => void, failure: () => StasisError): void {
  for (let turn = 0; turn < TRIES; turn++) {
    work();
    if (isDone()) return;
    trySyscall('poll', 0, 0, PAUSE);
    if (isDone()) return;
  }
  throw failure();
}

function failed({ own, remote }: WantedConnection, why: string): StasisError {
  return new StasisError({
    kind: 'kernel',
    code: 'SOCKET_TCP_PENDING',
    resource: `the connection between ${showPacketEnd(own)} and ${showPacketEnd(remote)}`,
    reason: `it cannot be put into the queue of its listening socket: ${why}`,
    remedy: 'see that no packet filter drops packets of the loopback device, or use --skip-in-flight, which loses it',
  });
}

/**
 * The timestamp (RFC 7323) that a connection between two ends would send now; undefined if the kernel does not tell.
 * Nothing is sent: a connection that is to carry bytes in its SYN waits for them (TCP_FASTOPEN_CONNECT), and has been
 * told its clock by then (`tcp_v4_connect()`). It has that of one that is accepted between the same ends.
 */
export function timestampBetween(own: InetEnd, remote: InetEnd): number | undefined {
  const family = own.address.length === 4 ? AF.INET : AF.INET6;
  using socket = new Fd(syscall('socket', family, SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK, IPPROTO.TCP));
  const set = (name: number, value: number): number => trySetNumber(socket.number, name, value, IPPROTO.TCP);
  set(TCP.REPAIR, REPAIR.ON); // whoever is in repair mode binds to a port that others have
  allowFreebind(socket.number, family, true);
  const [from, to] = [sockaddrOfEnd(own), sockaddrOfEnd(remote)];
  if (trySyscall('bind', socket.number, from, from.length) < 0) return undefined;
  set(TCP.REPAIR, REPAIR.OFF_SILENT);
  if (set(TCP.FASTOPEN_NO_COOKIE, 1) < 0 || set(TCP.FASTOPEN_CONNECT, 1) < 0) return undefined;
  if (trySyscall('connect', socket.number, to, to.length) < 0) return undefined;
  const now = getNumberIfAny(socket.number, TCP.TIMESTAMP, IPPROTO.TCP);
  return now === undefined ? undefined : now >>> 0;
}
