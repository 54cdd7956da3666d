/** Work to be done when a scope ends, last registered first. */
import { logWarn } from './log.ts';

export class UndoStack implements Disposable {
  #work: (() => void)[] = [];

  /** Registers something to be done at the end of the scope. */
  add(work: () => void): void {
    this.#work.push(work);
  }

  /** Forgets everything: what was done is to stay. */
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
