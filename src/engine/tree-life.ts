/** The last doors of what a tree has once: they are called in any case, however a dump or a restore ends. */
import { logError } from '../base/log.ts';

/**
 * Calls doors when a dump or restore is over: with what {@link end} says, or with `failed` where an error leaves the
 * scope before that. What one of them throws is logged, since there is no way back any more, and the others are called
 * all the same.
 */
export class TreeLife<Context, How> implements Disposable {
  readonly #doors: readonly ((context: Context, how: How) => void)[];
  readonly #failed: How;
  #context: Context | undefined;

  constructor(doors: readonly ((context: Context, how: How) => void)[], failed: How) {
    this.#doors = doors;
    this.#failed = failed;
  }

  /** From here on the doors will be called. */
  begin(context: Context): void {
    this.#context = context;
  }

  /** Calls the doors, once. */
  end(how: How): void {
    const context = this.#context;
    if (context === undefined) return;
    this.#context = undefined;
    for (const door of this.#doors) {
      try {
        door(context, how);
      } catch (error) {
        logError('tree-life.ts', error instanceof Error ? error.message : String(error));
      }
    }
  }

  [Symbol.dispose](): void {
    this.end(this.#failed);
  }
}
