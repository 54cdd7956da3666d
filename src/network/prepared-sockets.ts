/** Sockets of a restore that are made before there is any process, so that what is in their way is told in time. */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { RestoreContext } from '../contract/contract.ts';
import { type Fd, trySyscall } from '../kernel/syscall.ts';

export class PreparedSockets {
  readonly #made = new Map<number, LocalFd>();

  /** Those that nobody takes are closed at the end of the restore. */
  constructor(context: RestoreContext) {
    context.atEnd(() => {
      for (const local of this.#made.values()) trySyscall('close', local);
      this.#made.clear();
    });
  }

  /** Keeps the socket of a file of the images. */
  add(id: number, socket: Fd): void {
    this.#made.set(id, socket.release());
  }

  /** The socket of a file, which the caller owns from now on. @throws StasisError (internal) if there is none */
  take(id: number): LocalFd {
    const local = this.#made.get(id);
    if (local === undefined) throw new StasisError({ kind: 'internal', reason: `socket ${id} was not prepared` });
    this.#made.delete(id);
    return local;
  }
}
