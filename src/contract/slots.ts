/**
 * Slots: what is made once, for a whole dump, a whole restore or one look at a tree, by whoever needs it first. A slot is
 * a constant of the module that owns what is in it, so its type is known and no two can clash.
 */

/** Where the contents of slots are kept: one store for each dump, restore and look at a tree. */
export class SlotStore {
  readonly #contents = new Map<object, unknown>();

  /** The content of a slot, made if it is not there yet. Only slots call this. */
  contentOf<T>(slot: object, make: () => T): T {
    if (!this.#contents.has(slot)) this.#contents.set(slot, make());
    return this.#contents.get(slot) as T;
  }

  /** The content of a slot if it was made. Only slots call this. */
  contentIfMade<T>(slot: object): T | undefined {
    return this.#contents.get(slot) as T | undefined;
  }
}

/** Something that has slots. */
export interface HasSlots {
  readonly slots: SlotStore;
}

/**
 * A slot of a dump, a restore or a look at a tree.
 *
 * @example
 * const SAVED = new Slot((_: DumpContext) => new Set<number>());
 * if (SAVED.of(context).has(id)) return;
 */
export class Slot<Scope extends HasSlots, T> {
  readonly #make: (scope: Scope) => T;

  constructor(make: (scope: Scope) => T) {
    this.#make = make;
  }

  /** What is in the slot; made when it is asked for first. Throws what making it throws. */
  of(scope: Scope): T {
    return scope.slots.contentOf(this, () => this.#make(scope));
  }

  /** What is in the slot, if anybody has asked for it: for those who only clear up. */
  ifMade(scope: Scope): T | undefined {
    return scope.slots.contentIfMade(this);
  }
}

/**
 * The same with a content for each key: for each process, say, or each inode.
 *
 * @example
 * const MOUNTS = new KeyedSlot((_: DumpContext, pid: number) => mountsOf(pid));
 * const mounts = MOUNTS.of(context, pid);
 */
export class KeyedSlot<Scope extends HasSlots, Key, T> {
  readonly #make: (scope: Scope, key: Key) => T;

  constructor(make: (scope: Scope, key: Key) => T) {
    this.#make = make;
  }

  /** What is there for `key`; made when it is asked for first. Throws what making it throws. */
  of(scope: Scope, key: Key): T {
    const contents = scope.slots.contentOf(this, () => new Map<Key, T>());
    if (!contents.has(key)) contents.set(key, this.#make(scope, key));
    return contents.get(key) as T;
  }
}
