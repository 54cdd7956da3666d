/**
 * Buries traced threads as soon as they are dead, whatever we are doing.
 *
 * A thread that executes a program first ends all others of its process, and while it waits for the traced ones among
 * them to be buried by their tracer it holds the lock that attaching to one more thread needs (de_thread() in
 * fs/exec.c, cred_guard_mutex in ptrace_attach()). A tracer of one thread that waits there never comes to bury. So the
 * kernel interrupts the wait with SIGCHLD, and the handler of it, a few bytes of machine code, buries; the kernel then
 * goes on with the attaching by itself.
 */

import { thisArch } from '../arch/index.ts';
import type { HostPid } from '../base/brands.ts';
import { SA, SIG } from '../kernel/constants/signals.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { SignalHandler } from './signal-handler.ts';

/** Threads beyond this many are not watched. */
const MOST = 64 * 1024;

export class DeathWatch implements Disposable {
  /** Ends with 0. The kernel's pages behind it come when they are written to. */
  readonly #tids = new PinnedBuffer(new Int32Array(MOST));
  #count = 0;
  readonly #handler = new SignalHandler(thisArch().buryCode(this.#tids.address));

  constructor() {
    // Only deaths: a thousand threads that stop would ring a thousand times.
    this.#handler.handle(SIG.CHLD, SA.RESTART | SA.NOCLDSTOP);
  }

  /** Watches a thread that is about to be attached to. */
  add(tid: HostPid): void {
    if (this.#count < MOST - 1) this.#tids.view[this.#count++] = tid;
  }

  [Symbol.dispose](): void {
    this.#handler[Symbol.dispose]();
    this.#tids[Symbol.dispose]();
  }
}
