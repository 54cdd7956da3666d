/**
 * Reads the receive queues of sockets without consuming them.
 *
 * MSG_PEEK sees only the beginning of a queue unless SO_PEEK_OFF is set, which is state of the socket: left set, it
 * would change what the task reads. So everything from setting it to restoring it is one program that runs detached
 * (tracee/detached.ts), and completes even if Stasis is killed. A program looks at many sockets: to start one takes far
 * longer than its calls.
 */

import type { OpenFile } from '../../../contract/contract.ts';
import { MSG, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { getNumber } from '../../../kernel/sockets.ts';
import { arenaAddress, ERRNO, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
import { describeFile } from '../../../support/fdinfo.ts';
import { DetachedProcess } from '../../../tracee/detached.ts';
import { type Packet, PeekBuffers, problem } from './peek-buffers.ts';
import { hasError } from './probes.ts';

/** The facts about a socket that are needed. */
export interface QueueFacts {
  readonly type: number;
  /** Unread bytes; for SOCK_DGRAM, those of the first message. */
  readonly receiveQueue: number;
  /** Directions that are shut down: 1 receiving. */
  readonly shutdown: number;
}

/** Messages of one socket peeked at by one program, unless an error waits: first few, then many. */
const FEW = 4;
const LOT = 64;
/** Messages peeked at by one program. */
const MOST = 512;
/** Size of message buffers tried first, in bytes. Only the sender's buffer limits the size of a message. */
const USUAL = 256 * 1024;
/** INT_MAX: no message is larger. */
const LIMIT = 0x7fff_ffff;

/** A socket whose queue is to be read. */
export interface QueuedSocket {
  readonly file: OpenFile;
  readonly facts: QueueFacts;
}

/** A queue that is being read from its beginning, a few messages at a time. */
interface Reading extends QueuedSocket {
  /** The socket's own SO_PEEK_OFF. */
  readonly offset: number;
  /** Whether there is to be no look beyond the last byte, since it would take the error that waits. */
  readonly failed: boolean;
  readonly found: Packet[];
  /** Bytes of the messages seen so far. */
  seen: number;
  /** Size of the buffers for its messages. */
  size: number;
  lot: number;
}

/**
 * All unread messages of some sockets, in order, by socket. The tasks must be frozen. In a stream the kernel does not
 * separate bytes that were sent with descriptors from those before them, so they are one packet, as in CRIU's images.
 * @throws StasisError
 */
export function peekQueues<S extends QueuedSocket>(sockets: readonly S[]): Map<S, readonly Packet[]> {
  const all = new Map<S, readonly Packet[]>();
  const readings: Reading[] = [];
  using usual = new PeekBuffers([USUAL_FIRST]);
  for (const socket of sockets) {
    const looked = look(socket, usual);
    all.set(socket, 'found' in looked ? looked.found : looked);
    if ('found' in looked) readings.push(looked);
  }
  readOn(readings);
  for (const { file, facts, found } of readings) {
    const bytes = found.reduce((sum, packet) => sum + packet.bytes.length, 0);
    if (facts.type !== SOCK.DGRAM && bytes !== facts.receiveQueue) {
      throw problem(file, `${bytes} bytes of ${facts.receiveQueue} that wait could be read`);
    }
  }
  return all;
}

/** Bytes of the buffer that most first messages fit into. */
const USUAL_FIRST = 16 * 1024;

/** Looks at the beginning of a queue. Returns all of it, or how to read on if there may be more. */
function look({ file, facts }: QueuedSocket, usual: PeekBuffers): Packet[] | Reading {
  const isStream = facts.type === SOCK.STREAM;
  if (isStream && facts.receiveQueue === 0) return [];
  // A look answers with the error that waits, and takes it: of messages before any of them, of a stream once all bytes
  // were seen (sock_error() in __skb_try_recv_datagram() and unix_stream_read_generic()). The obstacle checks refuse
  // messages behind an error.
  const failed = hasError(file.local);
  if (failed && !isStream) return [];
  const offset = getNumber(file.local, SO.PEEK_OFF);
  const size = facts.type === SOCK.DGRAM ? Math.max(USUAL, facts.receiveQueue) : facts.receiveQueue;
  const reading = { file, facts, offset, failed, seen: 0, size, lot: failed ? 1 : FEW };
  if (offset < 0 && !isStream) {
    const length = lengthOfFirst(file);
    if (length === -ERRNO.EAGAIN || (length === 0 && isEnd(facts, 0))) return [];
    if (length > 0) return { ...reading, found: [] };
  }
  const first = offset < 0 ? peekFirst(file, facts, usual) : undefined;
  if (first === 'nothing') return [];
  if (first && isStream && first.rights.length === 0 && first.bytes.length === facts.receiveQueue) return [first];
  // The kernel skips an empty message once it has been peeked at; others are seen again.
  const found = first && !isStream && first.bytes.length === 0 ? [first] : [];
  if (found.length === 0) for (const local of first?.rights ?? []) trySyscall('close', local);
  return { ...reading, found };
}

/** The length of the first message, or -errno. What it carries is not received. */
function lengthOfFirst({ local }: OpenFile): number {
  return trySyscall('recvfrom', local, arenaAddress, 1, MSG.PEEK | MSG.DONTWAIT | MSG.TRUNC, 0, 0);
}

/** Peeks at the first message; of a stream without control data at everything. */
function peekFirst(file: OpenFile, facts: QueueFacts, usual: PeekBuffers): Packet | 'nothing' {
  using more = facts.receiveQueue > USUAL_FIRST ? new PeekBuffers([facts.receiveQueue]) : undefined;
  const buffers = more ?? usual;
  const got = buffers.first(file);
  if (got === -ERRNO.EAGAIN) return 'nothing';
  if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
  if (got === 0 && isEnd(facts, 0)) return 'nothing';
  return buffers.packet(0, got, file);
}

/**
 * Whether a length of 0 means the end. For SOCK_SEQPACKET an empty message differs from the end only in that bytes
 * follow.
 */
function isEnd({ type, shutdown, receiveQueue }: QueueFacts, seen: number): boolean {
  if (type === SOCK.STREAM) return true;
  return type === SOCK.SEQPACKET && (shutdown & 1) !== 0 && seen >= receiveQueue;
}

/** Reads queues to their ends. */
function readOn(readings: readonly Reading[]): void {
  if (readings.length === 0) return;
  using detached = new DetachedProcess();
  for (let left = readings; left.length > 0; ) {
    let messages = 0;
    const now = left.filter(({ lot }) => {
      messages += lot;
      return messages === lot || messages <= MOST;
    });
    const unfinished = readSome(detached, now);
    left = [...unfinished, ...left.slice(now.length)];
  }
}

/** Reads some messages of each. Returns those that may have more. */
function readSome(detached: DetachedProcess, readings: readonly Reading[]): Reading[] {
  using buffers = new PeekBuffers(readings.flatMap(({ lot, size }) => Array.from({ length: lot }, () => size)));
  const results = buffers.run(
    detached,
    readings.map(({ file, seen, offset, lot }) => ({ file, from: seen, offset, count: lot })),
  );
  let at = 0;
  return readings.filter((reading) => {
    const { lot } = reading;
    const isDone = takeResults(reading, buffers, at, results.slice(at, at + lot));
    at += lot;
    return !isDone;
  });
}

/** Takes the messages of one socket, from buffer `at` on. Returns whether its queue is at its end. */
function takeResults(reading: Reading, buffers: PeekBuffers, at: number, results: readonly number[]): boolean {
  const { file, facts, found } = reading;
  for (const [i, got] of results.entries()) {
    if (got === -ERRNO.EAGAIN || (got === 0 && isEnd(facts, reading.seen))) return true;
    if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
    if (buffers.isCut(at + i) && reading.size < LIMIT) {
      // Reads again from this message on, with more room.
      for (let again = i; again < results.length && (results[again] ?? -1) >= 0; again++) buffers.discard(at + again);
      reading.size = Math.min(4 * reading.size, LIMIT);
      return false;
    }
    found.push(buffers.packet(at + i, got, file));
    reading.seen += got;
  }
  if (!reading.failed) reading.lot = LOT;
  return facts.type === SOCK.STREAM && reading.seen >= facts.receiveQueue;
}
