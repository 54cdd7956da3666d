/**
 * What waits in a socket's receive queue, looked at without taking it out.
 *
 * MSG_PEEK sees the beginning only, unless SO_PEEK_OFF is set, and that is the socket's state: left behind, it would
 * change what the task sees. So the whole look, from setting it to putting it back, is one program run detached
 * (tracee/detached.ts), which comes to its end even if we do not.
 */

import type { OpenFile } from '../../../contract/contract.ts';
import { SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { getNumber } from '../../../kernel/sockets.ts';
import { ERRNO, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
import { describeFile } from '../../../support/fdinfo.ts';
import { DetachedProcess } from '../../../tracee/detached.ts';
import { type Packet, PeekBuffers, problem } from './peek-buffers.ts';

/** What has to be known of the socket. */
export interface QueueFacts {
  readonly type: number;
  /** Bytes that wait; of a SOCK_DGRAM those of the first message. */
  readonly receiveQueue: number;
  /** Directions that are shut down: 1 receiving. */
  readonly shutdown: number;
}

/** Messages looked at by one program. */
const LOT = 64;
/** Largest messages that are tried first; there is no limit but the sender's buffer. */
const USUAL = 256 * 1024;
/** INT_MAX: no message is larger. */
const LIMIT = 0x7fff_ffff;

/**
 * Everything that waits, in order. The task must stand still. Of a stream, the kernel does not tell apart bytes that
 * were sent with open files from those in front of them: they are one packet, as in CRIU's images.
 * @throws StasisError
 */
export function peekQueue(file: OpenFile, facts: QueueFacts): Packet[] {
  const isStream = facts.type === SOCK.STREAM;
  if (isStream && facts.receiveQueue === 0) return [];
  const offset = getNumber(file.local, SO.PEEK_OFF);
  const first = offset < 0 ? peekFirst(file, facts) : undefined;
  if (first === 'nothing') return [];
  if (first && isStream && first.rights.length === 0 && first.bytes.length === facts.receiveQueue) return [first];
  // An empty message is passed over from now on, since it has been looked at; others are seen again.
  const passed = !isStream && first?.bytes.length === 0 ? [first] : [];
  if (passed.length === 0) for (const local of first?.rights ?? []) trySyscall('close', local);
  const found = [...passed, ...peekAll(file, facts, offset)];
  const bytes = found.reduce((sum, packet) => sum + packet.bytes.length, 0);
  if (facts.type !== SOCK.DGRAM && bytes !== facts.receiveQueue) {
    throw problem(file, `${bytes} bytes of ${facts.receiveQueue} that wait could be read`);
  }
  return found;
}

/** The first message, all of a stream without control data. */
function peekFirst(file: OpenFile, facts: QueueFacts): Packet | 'nothing' {
  using buffers = new PeekBuffers(1, Math.max(facts.receiveQueue, 1));
  const got = buffers.first(file);
  if (got === -ERRNO.EAGAIN) return 'nothing';
  if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
  if (got === 0 && isEnd(facts, 0)) return 'nothing';
  return buffers.packet(0, got, file);
}

/** Of a SOCK_SEQPACKET nothing tells an empty message from the end, but that bytes follow. */
function isEnd({ type, shutdown, receiveQueue }: QueueFacts, seen: number): boolean {
  if (type === SOCK.STREAM) return true;
  return type === SOCK.SEQPACKET && (shutdown & 1) !== 0 && seen >= receiveQueue;
}

function peekAll(file: OpenFile, facts: QueueFacts, offset: number): Packet[] {
  using detached = new DetachedProcess();
  const found: Packet[] = [];
  let size = facts.type === SOCK.DGRAM ? Math.max(USUAL, facts.receiveQueue) : facts.receiveQueue;
  for (let seen = 0; ; ) {
    using buffers = new PeekBuffers(LOT, size);
    const results = buffers.run(detached, file, seen, offset);
    for (let i = 0; i < LOT; i++) {
      const got = results[i] ?? -ERRNO.EAGAIN;
      if (got === -ERRNO.EAGAIN || (got === 0 && isEnd(facts, seen))) return found;
      if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
      if (buffers.isCut(i) && size < LIMIT) {
        // Once more from here, with more room.
        for (let at = i; at < LOT && (results[at] ?? -1) >= 0; at++) buffers.discard(at);
        size = Math.min(4 * size, LIMIT);
        break;
      }
      found.push(buffers.packet(i, got, file));
      seen += got;
    }
  }
}
