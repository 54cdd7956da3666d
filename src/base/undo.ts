/** Cleanup for the end of a scope: what was registered last is done first. */
import { logWarn } from './log.ts';

/** A stack of cleanup functions, run in reverse order when the scope ends. Their errors are logged, not thrown. */
export class UndoStack implements Disposable {
  #work: (() => void)[] = [];

  /** Registers something to be done at the end of the scope. */
  add(work: () => void): void {
    this.#work.push(work);
  }

  /** Drops all registered work: the changes made are to stay. */
  keep(): void {
    this.#work = [];
  }

  [Symbol.dispose](): void {
    for (const work of this.#work.reverse()) {
      try {
        work();
      } catch (error) {
        // One failure must not keep the rest from being undone.
        logWarn('undo.ts', `cleaning up: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    this.#work = [];
  }
}
