/**
 * Parts of the program that are loaded when they are first needed. Most of what Stasis can carry is not in the tree at
 * hand, and code that is loaded but never run costs a small dump as much as what it does.
 */

/**
 * A module that is loaded on demand. `require` with a fixed path makes the bundler put the module, and all that only it
 * needs, into a chunk of its own; it cannot be done with modules that use `await` outside of functions.
 *
 * @example
 * const MAKING = new Part(() => require('./make.ts') as typeof import('./make.ts'));
 * return MAKING.load().makeSocket(entry);
 */
export class Part<Module> {
  readonly #require: () => Module;
  #loaded: Module | undefined;

  constructor(require: () => Module) {
    this.#require = require;
  }

  /** The module, loaded if it is not yet. */
  load(): Module {
    this.#loaded ??= this.#require();
    return this.#loaded;
  }

  /** The module if it was needed before. */
  get ifLoaded(): Module | undefined {
    return this.#loaded;
  }
}
