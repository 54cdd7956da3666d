/** Calls the last tree doors (`end`, `restoreEnd`) in any case, however a dump or a restore ends. */
import { logError } from '../base/log.ts';

/**
 * Calls the doors when a dump or restore is over: with the value passed to {@link end}, or with `failed` if an error
 * leaves the scope before that. Errors of doors are logged, since there is no way back any more, and the other doors
 * are called anyway.
 */
export class TreeLife<Context, How> implements Disposable {
  readonly #doors: readonly ((context: Context, how: How) => void)[];
  readonly #failed: How;
  #context: Context | undefined;

  constructor(doors: readonly ((context: Context, how: How) => void)[], failed: How) {
    this.#doors = doors;
    this.#failed = failed;
  }

  /** From this call on the doors will be called at the end. */
  begin(context: Context): void {
    this.#context = context;
  }

  /** Calls the doors, once. */
  end(how: How): void {
    const context = this.#context;
    if (context === undefined) return;
    this.#context = undefined;
    for (const door of this.#doors) orLog(() => door(context, how));
  }

  [Symbol.dispose](): void {
    this.end(this.#failed);
  }
}

/** Does what there is no way back from: an error is logged. */
export function orLog(work: () => void): void {
  try {
    work();
  } catch (error) {
    logError('tree-life.ts', error instanceof Error ? error.message : String(error));
  }
}
