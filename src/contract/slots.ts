/**
 * Slots hold values that are made once for a whole dump, a whole restore or one snapshot of a tree, by the first module
 * that needs them. A slot is a constant of the module that owns the value, so its type is known and no two slots
 * collide.
 */

/** Keeps the contents of slots. Each dump, restore and snapshot of a tree has one store. */
export class SlotStore {
  readonly #contents = new Map<object, unknown>();

  /** The content of a slot, made on first use. For slots only. */
  contentOf<T>(slot: object, make: () => T): T {
    if (!this.#contents.has(slot)) this.#contents.set(slot, make());
    return this.#contents.get(slot) as T;
  }

  /** The content of a slot if it was made. For slots only. */
  contentIfMade<T>(slot: object): T | undefined {
    return this.#contents.get(slot) as T | undefined;
  }
}

/** Something that has slots. */
export interface HasSlots {
  readonly slots: SlotStore;
}

/**
 * A slot of a dump, a restore or a snapshot of a tree.
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

  /** The content of the slot, made on first use. Throws whatever the maker throws. */
  of(scope: Scope): T {
    return scope.slots.contentOf(this, () => this.#make(scope));
  }

  /** The content of the slot if it was made; for cleanup, which must not make it. */
  ifMade(scope: Scope): T | undefined {
    return scope.slots.contentIfMade(this);
  }
}

/**
 * A slot with one content for each key, for example for each process or inode.
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

  /** The content for `key`, made on first use. Throws whatever the maker throws. */
  of(scope: Scope, key: Key): T {
    const contents = scope.slots.contentOf(this, () => new Map<Key, T>());
    if (!contents.has(key)) contents.set(key, this.#make(scope, key));
    return contents.get(key) as T;
  }
}
