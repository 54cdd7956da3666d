/** An io_uring instance of which we have a descriptor: its counters and queues, in mappings of our own. */
import { PAGE_SIZE } from '../arch/page-size.ts';
import { StasisError } from '../base/errors.ts';
import { MAP, PROT } from './constants/memory.ts';
import { IORING_ENTER, IORING_OFF, IORING_SETUP } from './constants/uring.ts';
import { Pins } from './ffi.ts';
import { UringParams } from './layouts/uring.ts';
import { arenaAddress, arenaView, Fd, syscall } from './syscall.ts';

/** How many pages the two mappings of a ring have: counters, completions and indices; and requests. */
export interface RingPages {
  readonly ring: number;
  readonly sqes: number;
}

/** The counters at the beginning of a ring's mapping (`struct io_rings` in include/linux/io_uring_types.h). */
export const COUNTER = { sqHead: 0, sqTail: 4, cqHead: 8, cqTail: 12, sqFlags: 36 } as const;

/** Makes a ring. Returns its descriptor and what the kernel tells of it. @throws SyscallError */
export function setUpRing(
  entries: number,
  wish: Partial<ReturnType<typeof UringParams.decode>>,
): { fd: Fd; params: ReturnType<typeof UringParams.decode> } {
  const params = UringParams.encode(wish);
  const fd = new Fd(syscall('io_uring_setup', entries, params));
  return { fd, params: UringParams.decode(params) };
}

/** The pages that the mappings of a ring need, by what io_uring_setup(2) has answered. */
export function pagesOf({ flags, sqEntries, cqEntries, sqOffsets, cqOffsets }: RingLayout): RingPages {
  const cqes = cqOffsets.cqes + cqEntries * (flags & IORING_SETUP.CQE32 ? 32 : 16);
  const array = flags & IORING_SETUP.NO_SQARRAY ? 0 : sqOffsets.array + 4 * sqEntries;
  const pages = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);
  return { ring: pages(Math.max(cqes, array)), sqes: pages(sqEntries * sqeSize(flags)) };
}

type RingLayout = Pick<ReturnType<typeof UringParams.decode>, 'flags' | 'sqEntries' | 'cqEntries'> & {
  readonly sqOffsets: { readonly array: number };
  readonly cqOffsets: { readonly cqes: number };
};

/** The bytes of a request. */
export const sqeSize = (flags: number): number => (flags & IORING_SETUP.SQE128 ? 128 : 64);

/** Both mappings of a ring in our memory, until the scope ends. */
export class MappedRing implements Disposable {
  readonly #fd: number;
  readonly #ring: Mapped;
  readonly #sqes: Mapped;

  constructor(fd: number, pages: RingPages) {
    this.#fd = fd;
    this.#ring = new Mapped(fd, IORING_OFF.SQ_RING, pages.ring * PAGE_SIZE);
    this.#sqes = new Mapped(fd, IORING_OFF.SQES, pages.sqes * PAGE_SIZE);
  }

  /** Bytes of the two mappings. */
  get ringLength(): number {
    return this.#ring.length;
  }
  get sqesLength(): number {
    return this.#sqes.length;
  }

  readRing(): Uint8Array {
    return this.#ring.read(0, this.#ring.length);
  }

  readSqes(): Uint8Array {
    return this.#sqes.read(0, this.#sqes.length);
  }

  writeRing(at: number, bytes: Uint8Array): void {
    this.#ring.write(at, bytes);
  }

  writeSqes(at: number, bytes: Uint8Array): void {
    this.#sqes.write(at, bytes);
  }

  counter(which: keyof typeof COUNTER): number {
    return new DataView(this.#ring.read(COUNTER[which], 4).buffer).getUint32(0, true);
  }

  setCounter(which: keyof typeof COUNTER, value: number): void {
    this.#ring.write(COUNTER[which], new Uint8Array(new Uint32Array([value]).buffer));
  }

  /** io_uring_enter(2): submits requests that are in the queue, and collects completions. @throws SyscallError */
  enter(submitted: number): number {
    return syscall('io_uring_enter', this.#fd, submitted, 0, IORING_ENTER.GETEVENTS);
  }

  /** Wakes the thread of the kernel that takes the requests of the ring (SQPOLL), if it sleeps. @throws SyscallError */
  wake(): void {
    syscall('io_uring_enter', this.#fd, 0, 0, IORING_ENTER.SQ_WAKEUP);
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
    this.#sqes[Symbol.dispose]();
  }
}

/** A mapping of ours, read and written by system calls, as all memory that is no buffer of the runtime. */
class Mapped implements Disposable {
  readonly length: number;
  readonly #address: number;

  constructor(fd: number, offset: number, length: number) {
    this.length = length;
    this.#address = syscall('mmap', 0, length, PROT.READ | PROT.WRITE, MAP.SHARED, fd, offset);
  }

  read(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#move('process_vm_readv', at, bytes);
    return bytes;
  }

  write(at: number, bytes: Uint8Array): void {
    this.#move('process_vm_writev', at, bytes);
  }

  #move(call: 'process_vm_readv' | 'process_vm_writev', at: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    using pins = new Pins();
    const words = [pins.address(bytes), bytes.length, this.#address + at, bytes.length];
    words.forEach((word, i) => {
      arenaView.setBigUint64(8 * i, BigInt(word), true);
    });
    const moved = syscall(call, process.pid, arenaAddress, 1, arenaAddress + 16, 1, 0);
    if (moved === bytes.length) return;
    throw new StasisError({ kind: 'kernel', resource: 'a ring of io_uring', reason: `${call}: ${moved} bytes` });
  }

  [Symbol.dispose](): void {
    syscall('munmap', this.#address, this.length);
  }
}
