/** Buffers for recvmsg(2) with MSG_PEEK, which leaves the messages in the queue. */

import { ownPid } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import { decodeText } from '../../../base/text.ts';
import type { OpenFile } from '../../../contract/contract.ts';
import { MAP, PROT } from '../../../kernel/constants/memory.ts';
import { MSG, SCM_MAX_FD, SO, SOL_SOCKET } from '../../../kernel/constants/sockets.ts';
import { PinnedBuffer } from '../../../kernel/ffi.ts';
import { decodeControl, Msghdr, rightsSpace, type Ucred } from '../../../kernel/layouts/sockets.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { followedStatus } from '../../../kernel/statx.ts';
import { Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { describeFile, fileObstacle } from '../../../support/fdinfo.ts';
import type { DetachedProcess } from '../../../tracee/detached.ts';
import { readMemory, readParts } from '../../../tracee/memory.ts';
import type { Ref } from '../../../tracee/program.ts';

/** A message, or the part of a stream that was read at once. */
export interface Packet {
  readonly bytes: Uint8Array;
  /** Our descriptors for the open files it carries. */
  readonly rights: readonly number[];
  /** The sender, if the receiver has SO_PASSCRED. */
  readonly sender: Ucred | undefined;
  /** The name of the socket it came from; empty if that has none. */
  readonly source: Uint8Array;
}

const FLAGS = MSG.PEEK | MSG.DONTWAIT | MSG.CMSG_CLOEXEC;
/** Bytes for the control data of a message: descriptors, credentials, and types that are refused. */
const CONTROL = rightsSpace(SCM_MAX_FD) + 512;
/** A struct msghdr and one iovec. */
const HEADER = 72;
/** Bytes for the address of the sender: `struct sockaddr_un`, and its family apart. */
const NAME = 112;
const FAMILY = 2;

/** What a program peeks at: `count` messages of a socket from byte `from` on. */
export interface PeekRun {
  readonly file: OpenFile;
  readonly from: number;
  /** The socket's own SO_PEEK_OFF, which is restored. */
  readonly offset: number;
  readonly count: number;
}

/** Up to how many bytes buffers are part of our own memory. */
const SMALL = 64 * 1024;

/**
 * Buffers for a number of messages. Those that are large together are mapped, since only the first page of most is ever
 * touched.
 */
export class PeekBuffers implements Disposable {
  /** Where the buffer of each message begins, and where the last one ends, in bytes. */
  readonly #places: readonly number[];
  readonly #base: number;
  readonly #own: PinnedBuffer | undefined;
  /** A struct msghdr and its iovec for each message. */
  readonly #headers: PinnedBuffer;
  readonly #view: DataView;
  /** Messages that {@link run} has read. */
  #fetched: ReadonlyMap<number, Uint8Array> = new Map();

  /** `sizes` are the most bytes of each message. */
  constructor(sizes: readonly number[]) {
    const places = [0];
    for (const size of sizes) places.push((places.at(-1) ?? 0) + ((size + CONTROL + NAME + 7) & ~7));
    this.#places = places;
    if (this.#length <= SMALL) this.#own = new PinnedBuffer(new Uint8Array(this.#length));
    const kind = MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE;
    this.#base = this.#own?.address ?? syscall('mmap', 0, this.#length, PROT.READ | PROT.WRITE, kind, -1, 0);
    this.#headers = new PinnedBuffer(new Uint8Array(sizes.length * HEADER));
    const { view: headers, address: at } = this.#headers;
    this.#view = new DataView(headers.buffer, headers.byteOffset);
    for (const [i, size] of sizes.entries()) {
      const control = this.#controlAt(i);
      Msghdr.encodeInto(headers, i * HEADER, {
        name: BigInt(control - NAME),
        nameLength: NAME,
        iov: BigInt(at + i * HEADER + Msghdr.size),
        iovLength: 1n,
        control: BigInt(control),
        controlLength: BigInt(CONTROL),
      });
      this.#view.setBigUint64(i * HEADER + Msghdr.size, BigInt(this.#bufferAt(i)), true);
      this.#view.setBigUint64(i * HEADER + Msghdr.size + 8, BigInt(size), true);
    }
  }

  get #length(): number {
    return Math.max(this.#places.at(-1) ?? 0, 1);
  }

  #bufferAt(i: number): number {
    return this.#base + (this.#places[i] ?? 0);
  }

  /** Where the control data of message `i` is; the name of its sender is before that. */
  #controlAt(i: number): number {
    return this.#base + (this.#places[i + 1] ?? 0) - CONTROL;
  }

  /** Peeks at the first message without changing the socket; also more than once. Returns its length, or -errno. */
  first(file: OpenFile): number {
    // The kernel has written how long these were, over how long they may be.
    this.#view.setUint32(Msghdr.offsets.nameLength, NAME, true);
    this.#view.setBigUint64(Msghdr.offsets.controlLength, BigInt(CONTROL), true);
    return trySyscall('recvmsg', file.local, this.#address(0), FLAGS);
  }

  /** Peeks at the messages of several sockets, one after another, into one buffer each. Returns lengths, or -errno. */
  run(detached: DetachedProcess, runs: readonly PeekRun[]): number[] {
    const program = detached.program();
    const setOffset = (file: OpenFile, value: number): Ref => {
      const at = program.data(new Uint8Array(new Int32Array([value]).buffer));
      const socket: number = file.local; // a detached process has our descriptors
      return program.attempt('setsockopt', socket, SOL_SOCKET, SO.PEEK_OFF, at, 4);
    };
    const calls: Ref[] = [];
    const settings = runs.map(({ file, from, offset, count }) => {
      const set = setOffset(file, from);
      for (let i = 0; i < count; i++) {
        calls.push(program.attempt('recvmsg', file.local as number, this.#address(calls.length), FLAGS));
      }
      return { file, changes: [set, setOffset(file, offset)] };
    });
    detached.run(program);
    const results = calls.map((call) => program.result(call));
    if (!this.#own) this.#fetched = this.#fetch(results);
    for (const { file, changes } of settings) {
      const failed = changes.map((call) => program.result(call)).find((result) => result < 0);
      if (failed !== undefined) throw new SyscallError('setsockopt', -failed, { resource: describeFile(file) });
    }
    return results;
  }

  /** Reads all messages of these lengths by one call: each would take longer than all its other calls. */
  #fetch(lengths: readonly number[]): Map<number, Uint8Array> {
    const parts = lengths.flatMap((length, i) => (length > 0 ? [{ i, address: this.#bufferAt(i), length }] : []));
    const all = readParts(ownPid(), parts);
    return new Map(parts.map(({ i }, place) => [i, all[place] as Uint8Array])); // one for each
  }

  /** Whether a message did not fit. */
  isCut(i: number): boolean {
    return (this.#number(i, Msghdr.offsets.flags) & MSG.TRUNC) !== 0;
  }

  /** Message `i`, of which `length` bytes were read. @throws StasisError for control data that is not known */
  packet(i: number, length: number, file: OpenFile): Packet {
    const nameLength = this.#number(i, Msghdr.offsets.nameLength);
    const at = this.#controlAt(i);
    const control = this.#control(i);
    const source = this.#read(at - NAME + FAMILY, Math.min(Math.max(nameLength, FAMILY), NAME) - FAMILY);
    const { rights, sender, pidfd, unknown } = decodeControl(control);
    const known = pidfd === undefined ? undefined : senderBehind(pidfd);
    if (unknown !== undefined) throw problem(file, `a message that waits has control data of type ${unknown}`);
    if (this.#number(i, Msghdr.offsets.flags) & MSG.CTRUNC)
      throw problem(file, 'the files a message carries could not all be received: raise ulimit -n');
    const bytes = this.#fetched.get(i) ?? this.#read(this.#bufferAt(i), length);
    return { bytes, rights, sender: sender ?? known, source };
  }

  /** Closes the descriptors that came with message `i`. */
  discard(i: number): void {
    const { rights, pidfd } = decodeControl(this.#control(i));
    for (const local of pidfd === undefined ? rights : [...rights, pidfd]) trySyscall('close', local);
  }

  /** Address of the struct msghdr of message `i`. */
  #address(i: number): number {
    return this.#headers.address + i * HEADER;
  }

  /** A number of 32 bits in the struct msghdr of message `i`. */
  #number(i: number, offset: number): number {
    return this.#view.getUint32(i * HEADER + offset, true);
  }

  #control(i: number): Uint8Array {
    return this.#read(this.#controlAt(i), this.#number(i, Msghdr.offsets.controlLength));
  }

  #read(address: number, length: number): Uint8Array {
    if (length === 0) return new Uint8Array();
    if (this.#own) return this.#own.view.slice(address - this.#base, address - this.#base + length);
    return readMemory(ownPid(), address, new Uint8Array(length));
  }

  [Symbol.dispose](): void {
    if (this.#own) this.#own[Symbol.dispose]();
    else trySyscall('munmap', this.#base, this.#length);
    this.#headers[Symbol.dispose]();
  }
}

/**
 * The sender that a pidfd in a message stands for (SO_PASSPIDFD), with the IDs it has now; undefined if it has ended.
 * The pidfd is closed.
 */
function senderBehind(pidfd: number): Ucred | undefined {
  using fd = new Fd(pidfd);
  const pid = Number(/^Pid:\t(-?\d+)$/m.exec(decodeText(readProc('self', `fdinfo/${fd.number}`)))?.[1]);
  const status = pid > 0 ? followedStatus(`/proc/${pid}`) : undefined;
  return status && { pid, uid: status.uid, gid: status.gid };
}

/** The error for a queue that cannot be carried. */
export function problem(file: OpenFile, reason: string): StasisError {
  return fileObstacle(file, 'SOCKET_QUEUE', reason);
}
