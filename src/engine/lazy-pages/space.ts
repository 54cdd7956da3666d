/** An address space whose pages are brought when they are needed, through its userfaultfd. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { type LocalAddress, localFd } from '../../base/brands.ts';
import { logDebug } from '../../base/log.ts';
import type { PageRange } from '../../contract/contract.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { ERRNO, Fd, SyscallError } from '../../kernel/syscall.ts';
import {
  type Placed,
  placePages,
  placePoison,
  placeZeros,
  readEvents,
  type UserfaultEvent,
  wakeWaiting,
} from '../../kernel/userfault-missing.ts';
import { type Asked, type Outstanding, pageOf } from '../../memory/lazy/outstanding.ts';
import type { LazySource } from './source.ts';

/** Bytes that are brought at once while nobody waits: few at first and after each fault, then more and more. */
const FIRST_LOT = 64 << 10;
const LARGEST_LOT = 1 << 20;

/** What a space has had. */
export interface SpaceFigures {
  pages: number;
  faults: number;
}

const ZEROS = new PinnedBuffer(new Uint8Array(PAGE_SIZE));

export class LazySpace implements Disposable {
  /** The PID in the images; of children that were forked since, that of their ancestor. */
  readonly pid: number;
  readonly userfault: Fd;
  readonly outstanding: Outstanding;
  readonly figures: SpaceFigures = { pages: 0, faults: 0 };
  /** Pages that somebody waits for and nobody has asked for yet; whether they are written to. */
  readonly #faults = new Map<number, boolean>();
  #isGone = false;
  /** Where to go on when nobody waits: behind what was needed last. */
  #cursor = 0;
  #lot = FIRST_LOT;

  constructor(pid: number, userfault: Fd, outstanding: Outstanding) {
    this.pid = pid;
    this.userfault = userfault;
    this.outstanding = outstanding;
  }

  /** Whether nothing is left to do: all was brought, or the address space is gone. */
  get isDone(): boolean {
    return this.#isGone || (this.outstanding.isEmpty && this.#faults.size === 0);
  }

  /** Whether somebody waits for a page that nobody has asked for yet. */
  get isNeeded(): boolean {
    return this.#faults.size > 0 && !this.#isGone;
  }

  get hasWaiting(): boolean {
    return this.outstanding.hasWaiting && !this.#isGone;
  }

  /** Reads what the userfaultfd tells; returns the address spaces of children that were forked. */
  takeEvents(): LazySpace[] {
    const children: LazySpace[] = [];
    for (let events = readEvents(this.userfault.number); events.length > 0; ) {
      // The kernel tells of faults before it tells of anything else, whatever came first.
      for (const event of events) if (event.type !== 'fault') this.#obey(event, children);
      for (const event of events) {
        if (event.type !== 'fault') continue;
        this.figures.faults++;
        this.#faults.set(pageOf(event.address), event.isWrite);
      }
      events = readEvents(this.userfault.number);
    }
    return children;
  }

  #obey(event: Exclude<UserfaultEvent, { type: 'fault' }>, children: LazySpace[]): void {
    switch (event.type) {
      case 'fork':
        children.push(new LazySpace(this.pid, new Fd(localFd(event.child)), this.outstanding.copy()));
        break;
      case 'remap':
        this.outstanding.remap(event.from, event.to, event.length);
        break;
      case 'remove':
      case 'unmap':
        // A range whose content was given up stays registered: to register less of a mapping would cut it in two.
        this.outstanding.drop(event.start, event.length);
        break;
    }
  }

  /** Asks for the pages that somebody waits for. */
  askForNeeded(source: LazySource): void {
    for (const [address, isWrite] of [...this.#faults]) {
      this.#faults.delete(address);
      if (this.#isGone || this.outstanding.isAsked(address)) continue;
      const asked = this.outstanding.ask(address, PAGE_SIZE);
      if (asked) {
        this.#cursor = address + PAGE_SIZE;
        this.#lot = FIRST_LOT;
        this.#request(source, asked);
      } else this.#bringZeros(address, isWrite);
    }
  }

  /** Asks for some of what nobody waits for yet. */
  askForMore(source: LazySource): void {
    const address = this.outstanding.next(this.#cursor);
    const asked = address === undefined ? undefined : this.outstanding.ask(address, Math.min(this.#lot, source.most));
    const [piece] = asked?.pieces ?? [];
    if (!asked || !piece) return;
    this.#cursor = piece.start + piece.length;
    this.#lot = Math.min(2 * this.#lot, LARGEST_LOT);
    this.#request(source, asked);
  }

  #request(source: LazySource, asked: Asked): void {
    const [piece] = asked.pieces;
    if (!piece) return;
    source.request(this.pid, piece.from, piece.length, (from, length, address) => {
      if (this.#isGone) return;
      for (const come of this.outstanding.arrived(asked, from, length)) {
        this.#bring(come.start, come.from, (address + come.from - from) as LocalAddress, come.length);
      }
    });
  }

  /** Puts pages where they belong. What does not work for the moment is asked for again. */
  #bring(start: number, from: number, address: LocalAddress, length: number): void {
    let most = length;
    let isDoubtful = false;
    for (let done = 0; done < length && !this.#isGone; ) {
      const part = Math.min(most, length - done);
      const result = placePages(this.userfault.number, start + done, (address + done) as LocalAddress, part);
      done += result.done;
      this.figures.pages += result.done / PAGE_SIZE;
      if (result.error === 0 || result.done > 0) {
        isDoubtful = false;
      } else if (result.error === -ERRNO.ENOENT && part > PAGE_SIZE) {
        // The program has cut the mapping in two, and one call can be about one mapping only.
        most = Math.max(PAGE_SIZE, pageOf(part / 2));
      } else if (result.error === -ERRNO.ENOENT && !isDoubtful) {
        // The mapping may have been moved this very moment, after the kernel had looked for such changes and before it
        // looked for the mapping (mfill_atomic() in mm/userfaultfd.c). Then the next call finds out (EAGAIN).
        isDoubtful = true;
      } else if (this.#isOver(result, start + done)) {
        isDoubtful = false;
        done += PAGE_SIZE;
      } else {
        // The program is about to change its mappings. What it does is told next.
        this.outstanding.putBack({ start: start + done, length: length - done, from: from + done });
        this.#faults.set(start + done, true);
        return;
      }
    }
  }

  /** A page that the dumped program did not have. */
  #bringZeros(address: number, isWrite: boolean): void {
    const fd = this.userfault.number;
    // For one who writes the kernel's page of zeros would only have to be copied next.
    const result = isWrite ? placePages(fd, address, ZEROS.address, PAGE_SIZE) : placeZeros(fd, address, PAGE_SIZE);
    if (result.error !== 0 && !this.#isOver(result, address)) this.#faults.set(address, isWrite);
  }

  /** Whether a page that could not be put somewhere needs not be, since it is there or its place is gone. */
  #isOver({ error }: Placed, address: number): boolean {
    switch (-error) {
      case ERRNO.EEXIST:
      case ERRNO.ENOENT:
        wakeWaiting(this.userfault.number, address, PAGE_SIZE);
        return true;
      case ERRNO.ESRCH:
      case ERRNO.ENOSPC:
        this.#isGone = true;
        logDebug(`an address space of task ${this.pid} is gone`);
        return true;
      case ERRNO.EAGAIN:
      case ERRNO.ENOMEM:
        return false;
      default:
        throw new SyscallError('ioctl', -error, { resource: `a page of task ${this.pid}` });
    }
  }

  /**
   * Has all that cannot be brought any more raise SIGBUS, so that nobody takes zeros for it. Returns its size. What is
   * outstanding after that could not be treated so.
   */
  poison(): number {
    let bytes = 0;
    for (let tries = 0; tries < 1000 && !this.#isGone; tries++) {
      for (const child of this.takeEvents()) {
        bytes += child.poison();
        child[Symbol.dispose]();
      }
      const [next] = this.outstanding.pieces;
      if (!next) break;
      const { done, error } = this.#poison(next);
      const isOver = error === -ERRNO.EEXIST || error === -ERRNO.ENOENT;
      if (error === -ERRNO.ESRCH || error === -ERRNO.ENOSPC || error === -ERRNO.EINVAL) break;
      this.outstanding.drop(next.start, isOver ? PAGE_SIZE : done);
      bytes += done;
      if (done > 0 || isOver) tries = 0;
    }
    for (const address of this.#faults.keys()) wakeWaiting(this.userfault.number, address, PAGE_SIZE);
    return bytes;
  }

  /** As with contents, one call can be about one mapping only. */
  #poison({ start, length }: PageRange): Placed {
    const all = placePoison(this.userfault.number, start, length);
    if (all.error !== -ERRNO.ENOENT) return all;
    return placePoison(this.userfault.number, start, PAGE_SIZE);
  }

  [Symbol.dispose](): void {
    this.userfault[Symbol.dispose]();
  }
}
