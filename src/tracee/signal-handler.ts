/** Signal handlers in machine code, for work that must be done at once, whatever the JavaScript code is doing. */

import type { HandlerCode } from '../arch/arch.ts';
import { ownPid } from '../base/brands.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { ALL_SIGNALS, SA, SIG_HANDLER } from '../kernel/constants/signals.ts';
import { Sigaction } from '../kernel/layouts/signals.ts';
import { arena, arenaAddress, syscall, trySyscall } from '../kernel/syscall.ts';
import { writeMemory } from './memory.ts';

const PAGE = 4096;

/** A handler for some signals. At the end of the scope their previous actions are restored. */
export class SignalHandler implements Disposable {
  readonly #page: number;
  readonly #restorer: number;
  /** The previous actions, by signal: struct sigaction. */
  readonly #before = new Map<number, Uint8Array>();

  constructor({ code, restorer }: HandlerCode) {
    this.#page = syscall('mmap', 0, PAGE, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
    this.#restorer = this.#page + restorer;
    writeMemory(ownPid(), this.#page, code);
    syscall('mprotect', this.#page, PAGE, 5);
  }

  /** Installs the handler for a signal, with SA_* flags. A second call for a signal changes its flags. */
  handle(signal: number, flags: bigint): void {
    const action = new Uint8Array(Sigaction.size);
    Sigaction.encodeInto(action, 0, {
      handler: BigInt(this.#page),
      flags: flags | SA.RESTORER,
      restorer: BigInt(this.#restorer),
      mask: ALL_SIGNALS,
    });
    const before = new Uint8Array(Sigaction.size);
    syscall('rt_sigaction', signal, action, before, 8);
    if (!this.#before.has(signal)) this.#before.set(signal, before);
  }

  [Symbol.dispose](): void {
    for (const [signal, action] of this.#before) trySyscall('rt_sigaction', signal, action, 0, 8);
    this.#before.clear();
    trySyscall('munmap', this.#page, PAGE);
  }
}

/** What happens to a signal that Stasis gets. */
export function actionOf(signal: number): 'default' | 'ignored' | 'handled' {
  syscall('rt_sigaction', signal, 0, arenaAddress, 8);
  const { handler } = Sigaction.decode(arena);
  if (handler === SIG_HANDLER.DFL) return 'default';
  return handler === SIG_HANDLER.IGN ? 'ignored' : 'handled';
}
