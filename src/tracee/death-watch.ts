/**
 * Buries traced threads as soon as they are dead, whatever we are doing.
 *
 * A thread that executes a program first ends all others of its process, and while it waits for the traced ones among them
 * to be buried by their tracer it holds the lock that attaching to one more thread needs (de_thread() in fs/exec.c,
 * cred_guard_mutex in ptrace_attach()). A tracer of one thread that waits there never comes to bury. So the kernel
 * interrupts the wait with SIGCHLD, and the handler of it, a few bytes of machine code, buries; the kernel then goes on
 * with the attaching by itself.
 */

import { thisArch } from '../arch/index.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import { SA } from '../kernel/constants/signals.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { Sigaction } from '../kernel/layouts/signals.ts';
import { syscall, trySyscall } from '../kernel/syscall.ts';
import { writeMemory } from './memory.ts';

const SIGCHLD = 17;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
/** Threads beyond this many are not watched. */
const MOST = 64 * 1024;

export class DeathWatch implements Disposable {
  /** Ends with 0. The kernel's pages behind it come when they are written to. */
  readonly #tids = new PinnedBuffer(new Int32Array(MOST));
  #count = 0;
  readonly #page: number;
  readonly #before = new Uint8Array(Sigaction.size);

  constructor() {
    const { code, restorer } = thisArch().buryCode(this.#tids.address);
    this.#page = syscall('mmap', 0, PAGE_SIZE, 3, 0x22, -1, 0);
    writeMemory(process.pid, this.#page, code);
    syscall('mprotect', this.#page, PAGE_SIZE, 5);
    const action = new Uint8Array(Sigaction.size);
    Sigaction.encodeInto(action, 0, {
      handler: BigInt(this.#page),
      // Only deaths: a thousand threads that stop would ring a thousand times.
      flags: SA.RESTART | SA.NOCLDSTOP | SA.RESTORER,
      restorer: BigInt(this.#page + restorer),
      mask: ALL_SIGNALS,
    });
    syscall('rt_sigaction', SIGCHLD, action, this.#before, 8);
  }

  /** Watches a thread that is about to be attached to. */
  add(tid: number): void {
    if (this.#count < MOST - 1) this.#tids.view[this.#count++] = tid;
  }

  [Symbol.dispose](): void {
    trySyscall('rt_sigaction', SIGCHLD, this.#before, 0, 8);
    trySyscall('munmap', this.#page, PAGE_SIZE);
    this.#tids[Symbol.dispose]();
  }
}
