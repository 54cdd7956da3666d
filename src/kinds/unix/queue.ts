/**
 * What waits in a socket's receive queue, looked at without taking it out.
 *
 * MSG_PEEK sees the beginning only, unless SO_PEEK_OFF is set, and that is the socket's state: left behind, it would change
 * what the task sees. So the whole look, from setting it to putting it back, is one program run aside (tracee/aside.ts),
 * which comes to its end even if we do not.
 */
import { StasisError } from '../../base/errors.ts';
import { MSG, SO, SOCK, SOL_SOCKET } from '../../kernel/constants/sockets.ts';
import { addressOf } from '../../kernel/ffi.ts';
import { decodeControl, Msghdr, rightsSpace, SCM_MAX_FD, type Ucred } from '../../kernel/layouts/sockets.ts';
import { getNumber } from '../../kernel/sockets.ts';
import { ERRNO, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { Aside } from '../../tracee/aside.ts';
import { readMemory } from '../../tracee/memory.ts';
import type { Program } from '../../tracee/program.ts';
import type { OpenFile } from '../contract.ts';
import { describeFile } from '../detail.ts';

/** A message, or of a stream as much as was read at once. */
export interface Packet {
  readonly bytes: Uint8Array;
  /** Our descriptors for the open files it carries. */
  readonly rights: readonly number[];
  /** Who sent it, if the receiver is told (SO_PASSCRED). */
  readonly sender: Ucred | undefined;
}

/** What has to be known of the socket. */
export interface QueueFacts {
  readonly type: number;
  /** Bytes that wait; of a SOCK_DGRAM those of the first message. */
  readonly receiveQueue: number;
  /** Directions that are shut down: 1 receiving. */
  readonly shutdown: number;
}

const FLAGS = MSG.PEEK | MSG.DONTWAIT | MSG.CMSG_CLOEXEC;
/** Messages looked at by one program. */
const LOT = 64;
/** Room for the control data of a message: descriptors, credentials, and what is refused. */
const CONTROL = rightsSpace(SCM_MAX_FD) + 512;
/** Largest messages that are tried first; there is no limit but the sender's buffer. */
const USUAL = 256 * 1024;
/** INT_MAX: no message is larger. */
const LIMIT = 0x7fff_ffff;

/** Everything that waits, in order. The task must stand still. @throws StasisError */
export function peekQueue(file: OpenFile, facts: QueueFacts): Packet[] {
  const isStream = facts.type === SOCK.STREAM;
  if (isStream && facts.receiveQueue === 0) return [];
  const offset = getNumber(file.local, SO.PEEK_OFF);
  const first = offset < 0 ? peekFirst(file, facts) : undefined;
  if (first === 'nothing') return [];
  if (first && isStream && first.rights.length === 0 && first.bytes.length === facts.receiveQueue) return [first];
  for (const local of first?.rights ?? []) trySyscall('close', local);
  // An empty message is skipped once it has been looked at.
  const lost = !isStream && first?.bytes.length === 0 ? [first] : [];
  const found = [...lost, ...peekAll(file, facts, offset)];
  const bytes = found.reduce((sum, packet) => sum + packet.bytes.length, 0);
  if (facts.type !== SOCK.DGRAM && bytes !== facts.receiveQueue) {
    throw problem(file, `${bytes} bytes of ${facts.receiveQueue} that wait could be read`);
  }
  return found;
}

/** The first message, all of a stream without control data. */
function peekFirst(file: OpenFile, facts: QueueFacts): Packet | 'nothing' {
  using look = new Look(1, Math.max(facts.receiveQueue, 1));
  const got = trySyscall('recvmsg', file.local, look.header(0), FLAGS);
  if (got === -ERRNO.EAGAIN) return 'nothing';
  if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
  if (got === 0 && isEnd(facts, 0)) return 'nothing';
  return look.packet(0, got, file);
}

/** Of a SOCK_SEQPACKET nothing tells an empty message from the end, but that bytes follow. */
function isEnd({ type, shutdown, receiveQueue }: QueueFacts, seen: number): boolean {
  if (type === SOCK.STREAM) return true;
  return type === SOCK.SEQPACKET && (shutdown & 1) !== 0 && seen >= receiveQueue;
}

function peekAll(file: OpenFile, facts: QueueFacts, offset: number): Packet[] {
  using aside = new Aside();
  const found: Packet[] = [];
  let size = facts.type === SOCK.DGRAM ? Math.max(USUAL, facts.receiveQueue) : facts.receiveQueue;
  for (let seen = 0; ; ) {
    using look = new Look(LOT, size);
    const results = look.run(aside, file, seen, offset);
    for (let i = 0; i < LOT; i++) {
      const got = results[i] ?? -ERRNO.EAGAIN;
      if (got === -ERRNO.EAGAIN || (got === 0 && isEnd(facts, seen))) return found;
      if (got < 0) throw new SyscallError('recvmsg', -got, { task: file.task, resource: describeFile(file) });
      if (look.isCut(i) && size < LIMIT) {
        // Once more from here, with more room.
        look.discard(results, i);
        size = Math.min(4 * size, LIMIT);
        break;
      }
      found.push(look.packet(i, got, file));
      seen += got;
    }
  }
}

/** Buffers for a number of messages, mapped: of most only the first page is ever touched. */
class Look implements Disposable {
  readonly #stride: number;
  readonly #length: number;
  readonly #base: number;
  /** A struct msghdr and its iovec for each message. */
  readonly #headers: Uint8Array;

  constructor(count: number, size: number) {
    this.#stride = (size + CONTROL + 7) & ~7;
    this.#length = count * this.#stride;
    this.#base = syscall('mmap', 0, this.#length, 3, 0x4022, -1, 0); // private, anonymous, MAP_NORESERVE
    this.#headers = new Uint8Array(count * HEADER);
    const view = new DataView(this.#headers.buffer);
    const at = addressOf(this.#headers);
    for (let i = 0; i < count; i++) {
      const buffer = this.#base + i * this.#stride;
      Msghdr.encodeInto(this.#headers, i * HEADER, {
        iov: BigInt(at + i * HEADER + Msghdr.size),
        iovLength: 1n,
        control: BigInt(buffer + this.#stride - CONTROL),
        controlLength: BigInt(CONTROL),
      });
      view.setBigUint64(i * HEADER + Msghdr.size, BigInt(buffer), true);
      view.setBigUint64(i * HEADER + Msghdr.size + 8, BigInt(size), true);
    }
  }

  /** Address of the struct msghdr of message `i`. */
  header(i: number): number {
    return addressOf(this.#headers) + i * HEADER;
  }

  /** Looks at the messages from byte `from` on; answers their lengths, or -errno. */
  run(aside: Aside, file: OpenFile, from: number, offset: number): number[] {
    const program = aside.program();
    const setOffset = (value: number): ReturnType<Program['attempt']> => {
      const at = program.data(new Uint8Array(new Int32Array([value]).buffer));
      return program.attempt('setsockopt', file.local, SOL_SOCKET, SO.PEEK_OFF, at, 4);
    };
    const set = setOffset(from);
    const calls = Array.from({ length: LOT }, (_, i) => program.attempt('recvmsg', file.local, this.header(i), FLAGS));
    const reset = setOffset(offset);
    aside.run(program);
    for (const call of [set, reset]) {
      const result = program.result(call);
      if (result < 0) throw new SyscallError('setsockopt', -result, { resource: describeFile(file) });
    }
    return calls.map((call) => program.result(call));
  }

  /** Whether a message did not fit. */
  isCut(i: number): boolean {
    return (this.#header(i).flags & MSG.TRUNC) !== 0;
  }

  /** Message `i`, of which `length` bytes were read. @throws StasisError for control data that is not known */
  packet(i: number, length: number, file: OpenFile): Packet {
    const { flags, controlLength } = this.#header(i);
    const buffer = this.#base + i * this.#stride;
    const control = this.#read(buffer + this.#stride - CONTROL, Number(controlLength));
    const { rights, sender, unknown } = decodeControl(control);
    if (unknown !== undefined) throw problem(file, `a message that waits has control data of type ${unknown}`);
    if (flags & MSG.CTRUNC)
      throw problem(file, 'the files a message carries could not all be received: raise ulimit -n');
    return { bytes: this.#read(buffer, length), rights, sender };
  }

  /** Closes what messages from `i` on brought. */
  discard(results: readonly number[], i: number): void {
    for (let at = i; at < results.length && (results[at] ?? -1) >= 0; at++) {
      const buffer = this.#base + at * this.#stride;
      const control = this.#read(buffer + this.#stride - CONTROL, Number(this.#header(at).controlLength));
      for (const local of decodeControl(control).rights) trySyscall('close', local);
    }
  }

  #header(i: number): Msghdr {
    return Msghdr.decode(this.#headers, i * HEADER);
  }

  #read(address: number, length: number): Uint8Array {
    return length === 0 ? new Uint8Array() : readMemory(process.pid, address, new Uint8Array(length));
  }

  [Symbol.dispose](): void {
    trySyscall('munmap', this.#base, this.#length);
  }
}

/** A struct msghdr and one iovec. */
const HEADER = 72;

function problem(file: OpenFile, reason: string): StasisError {
  return new StasisError({ kind: 'unsupported', task: file.task, resource: describeFile(file), reason });
}
