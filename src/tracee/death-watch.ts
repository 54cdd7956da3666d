/**
 * Reaps traced threads as soon as they are dead, even while Stasis is blocked in a system call.
 *
 * A thread that executes a program first kills all other threads of its process. Until traced ones among them have been
 * reaped by their tracer, it holds the lock that attaching to another thread needs (de_thread() in fs/exec.c,
 * cred_guard_mutex in ptrace_attach()). A tracer that waits for this lock cannot reap. But SIGCHLD interrupts the wait,
 * and the handler, a few bytes of machine code, reaps the dead threads; the kernel then continues to attach by itself.
 */

import { thisArch } from '../arch/index.ts';
import type { HostPid } from '../base/brands.ts';
import { SA, SIG } from '../kernel/constants/signals.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { SignalHandler } from './signal-handler.ts';

/** The largest number of threads that are watched. */
const MOST = 64 * 1024;

export class DeathWatch implements Disposable {
  /** The TIDs, ended by 0. The kernel allocates its pages when they are first written to. */
  readonly #tids = new PinnedBuffer(new Int32Array(MOST));
  #count = 0;
  readonly #handler = new SignalHandler(thisArch().buryCode(this.#tids.address));

  constructor() {
    // SA_NOCLDSTOP: only deaths matter, and a thousand stopping threads would send a thousand signals.
    this.#handler.handle(SIG.CHLD, SA.RESTART | SA.NOCLDSTOP);
  }

  /** Adds a thread that is about to be attached. */
  add(tid: HostPid): void {
    if (this.#count < MOST - 1) this.#tids.view[this.#count++] = tid;
  }

  [Symbol.dispose](): void {
    this.#handler[Symbol.dispose]();
    this.#tids[Symbol.dispose]();
  }
}
