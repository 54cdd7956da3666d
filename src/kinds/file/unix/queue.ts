/**
 * Reads the receive queue of a socket without consuming it.
 *
 * MSG_PEEK sees only the beginning of a queue unless SO_PEEK_OFF is set, which is state of the socket: left set, it
 * would change what the task reads. So everything from setting it to restoring it is one program that runs detached
 * (tracee/detached.ts), and completes even if Stasis is killed.
 */

import type { OpenFile } from '../../../contract/contract.ts';
import { SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { getNumber } from '../../../kernel/sockets.ts';
import { ERRNO, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
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

/** Messages peeked at by one program, unless an error waits. */
const LOT = 64;
/** Size of message buffers tried first, in bytes. Only the sender's buffer limits the size of a message. */
const USUAL = 256 * 1024;
/** INT_MAX: no message is larger. */
const LIMIT = 0x7fff_ffff;

/**
 * All unread messages, in order. The task must be frozen. In a stream the kernel does not separate bytes that were sent
 * with descriptors from those before them, so they are one packet, as in CRIU's images.
 * @throws StasisError
 */
export function peekQueue(file: OpenFile, facts: QueueFacts): Packet[] {
  const isStream = facts.type === SOCK.STREAM;
  if (isStream && facts.receiveQueue === 0) return [];
  // A look answers with the error that waits, and takes it: of messages before any of them, of a stream once all bytes
  // were seen (sock_error() in __skb_try_recv_datagram() and unix_stream_read_generic()). The obstacle checks refuse
  // messages behind an error.
  const failed = hasError(file.local);
  if (failed && !isStream) return [];
  const offset = getNumber(file.local, SO.PEEK_OFF);
  const first = offset < 0 ? peekFirst(file, facts) : undefined;
  if (first === 'nothing') return [];
  if (first && isStream && first.rights.length === 0 && first.bytes.length === facts.receiveQueue) return [first];
  // The kernel skips an empty message once it has been peeked at; others are seen again.
  const passed = !isStream && first?.bytes.length === 0 ? [first] : [];
  if (passed.length === 0) for (const local of first?.rights ?? []) trySyscall('close', local);
  const found = [...passed, ...peekAll(file, facts, offset, failed ? 1 : LOT)];
  const bytes = found.reduce((sum, packet) => sum + packet.bytes.length, 0);
  if (facts.type !== SOCK.DGRAM && bytes !== facts.receiveQueue) {
    throw problem(file, `${bytes} bytes of ${facts.receiveQueue} that wait could be read`);
  }
  return found;
}

/** Peeks at the first message; of a stream without control data at everything. */
function peekFirst(file: OpenFile, facts: QueueFacts): Packet | 'nothing' {
  using buffers = new PeekBuffers(1, Math.max(facts.receiveQueue, 1));
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

/** Peeks at everything, `lot` messages at a time. With a lot of 1 there is no look beyond the last byte of a stream. */
function peekAll(file: OpenFile, facts: QueueFacts, offset: number, lot: number): Packet[] {
  using detached = new DetachedProcess();
  const found: Packet[] = [];
  let size = facts.type === SOCK.DGRAM ? Math.max(USUAL, facts.receiveQueue) : facts.receiveQueue;
  for (let seen = 0; ; ) {
    if (facts.type === SOCK.STREAM && seen >= facts.receiveQueue) return found;
    using buffers = new PeekBuffers(lot, size);
    const results = buffers.run(detached, file, seen, offset);
    for (let i = 0; i < lot; i++) {
      const got = results[i] ?? -ERRNO.EAGAIN;
      if (got === -ERRNO.EAGAIN || (got === 0 && isEnd(facts, seen))) return found;
      if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
      if (buffers.isCut(i) && size < LIMIT) {
        // Reads again from this message on, with more room.
        for (let at = i; at < lot && (results[at] ?? -1) >= 0; at++) buffers.discard(at);
        size = Math.min(4 * size, LIMIT);
        break;
      }
      found.push(buffers.packet(i, got, file));
      seen += got;
    }
  }
}
