/**
 * A store of snapshots: many folders of images in which everything that is equal is there once. Page contents are cut
 * into pages, other files into pieces, and each is kept under its digest.
 *
 *     stasis-store.json  what the folder is
 *     lock               held while the store is used: shared to read, alone to change it
 *     packs/             contents, see packs.ts
 *     snapshots/         what each snapshot has, see snapshots.ts
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { errnoNameOf, StasisError } from '../base/errors.ts';
import { encodeText } from '../base/text.ts';
import { object, readJson, whole } from '../images/form.ts';
import { LOCK, O } from '../kernel/constants/files.ts';
import { openFile } from '../kernel/files.ts';
import { ERRNO, type Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { type Added, addFolder } from './add.ts';
import { type Collected, collect } from './collect.ts';
import { Contents } from './contents.ts';
import { getFolder } from './get.ts';
import { packsIn, removeUnfinished, sizeOf, writeLasting } from './packs.ts';
import { readSnapshot, removeSnapshot, type Snapshot, snapshotNames, writeSnapshot } from './snapshots.ts';

const MARK = 'stasis-store.json';
const FORMAT = 1;

/** Where the parts of a store are. */
export interface StorePlaces {
  readonly packs: string;
  readonly snapshots: string;
}

/** A store that is open, and locked until it is disposed of. */
export class Store implements Disposable {
  readonly dir: string;
  readonly places: StorePlaces;
  readonly #lock: Fd;

  private constructor(dir: string, lock: Fd) {
    this.dir = dir;
    this.#lock = lock;
    this.places = { packs: `${dir}/packs`, snapshots: `${dir}/snapshots` };
  }

  /**
   * Opens a store, and waits until nobody changes it or, if it is to be changed, until nobody else uses it. One that is
   * not there is made if it is to be changed.
   * @throws StasisError (usage) if the folder is something else
   * @throws InterruptedError
   */
  static open(dir: string, changes: boolean): Store {
    if (!existsSync(`${dir}/${MARK}`)) {
      if (!changes) throw notStore(dir, 'is no store of snapshots', 'name one with --store');
      makeStore(dir);
    }
    const { format } = readJson(object({ format: whole }), readFileSync(`${dir}/${MARK}`), MARK);
    if (format !== FORMAT) throw notStore(dir, `is a store of version ${format}`, 'use the Stasis that has made it');
    const lock = openFile(`${dir}/lock`, O.RDONLY);
    try {
      take(lock, dir, changes ? LOCK.EX : LOCK.SH);
      const store = new Store(dir, lock);
      if (changes) removeUnfinished(store.places.packs);
      return store;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** All snapshots, in the order of their names. */
  list(): Snapshot[] {
    return snapshotNames(this.places.snapshots).map((name) => this.#find(name));
  }

  /**
   * Adds a folder of images, with those of earlier dumps that it needs.
   * @throws StasisError (conflict) if the name is taken, (image) if they are not complete
   */
  add(name: string, imagesDir: string, now: number): Added {
    if (readSnapshot(this.places.snapshots, name)) {
      const remedy = 'take another name, or remove that one: store rm';
      throw new StasisError({ kind: 'conflict', resource: name, reason: 'there is such a snapshot', remedy });
    }
    using contents = new Contents(this.places.packs);
    const { files, ...sizes } = addFolder(contents, imagesDir);
    contents.finish();
    writeSnapshot(this.places.snapshots, { name, added: now, files });
    return { files, ...sizes };
  }

  /** Writes the images of a snapshot into a folder, which must be empty. Returns how many bytes they have. */
  get(name: string, dir: string): number {
    const snapshot = this.#find(name);
    using contents = new Contents(this.places.packs);
    return getFolder(contents, snapshot, dir);
  }

  /** Removes a snapshot. What only it had is freed by {@link collect}. */
  remove(name: string): void {
    this.#find(name);
    removeSnapshot(this.places.snapshots, name);
  }

  /** Frees what no snapshot has. */
  collect(): Collected {
    return collect(this.places.packs, this.list());
  }

  /** Bytes of all contents, each once. */
  size(): number {
    return packsIn(this.places.packs).reduce((sum, number) => sum + sizeOf(this.places.packs, number), 0);
  }

  /** Compares everything with its digests. Returns what is wrong, in words. */
  check(): string[] {
    using contents = new Contents(this.places.packs);
    const wrong = contents.check();
    for (const name of snapshotNames(this.places.snapshots)) {
      try {
        contents.requireAll(this.#find(name));
      } catch (error) {
        if (!(error instanceof StasisError)) throw error;
        wrong.push(`${name}: ${error.message}`);
      }
    }
    return wrong;
  }

  #find(name: string): Snapshot {
    const found = readSnapshot(this.places.snapshots, name);
    if (found) return found;
    const remedy = '"store ls" lists them';
    throw new StasisError({ kind: 'usage', resource: name, reason: 'there is no such snapshot', remedy });
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }
}

function makeStore(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (readdirSync(dir).some((name) => !OURS.includes(name))) {
      throw notStore(dir, 'is no store of snapshots, nor empty', 'name another folder with --store');
    }
    for (const part of ['packs', 'snapshots']) mkdirSync(`${dir}/${part}`, { recursive: true, mode: 0o700 });
    openFile(`${dir}/lock`, O.RDONLY | O.CREAT, 0o600)[Symbol.dispose]();
    writeLasting(`${dir}/${MARK}`, encodeText(`${JSON.stringify({ format: FORMAT })}\n`));
  } catch (error) {
    if (error instanceof StasisError) throw error;
    throw notStore(dir, `cannot be made (${errnoNameOf(error)})`, 'name another folder with --store');
  }
}

/** What somebody who was interrupted while making the store has left. */
const OURS = ['packs', 'snapshots', 'lock', `${MARK}.new`];

function take(lock: Fd, dir: string, how: number): void {
  for (;;) {
    requireUninterrupted();
    const result = trySyscall('flock', lock.number, how);
    if (result === 0) return;
    if (result !== -ERRNO.EINTR) throw new SyscallError('flock', -result, { resource: `${dir}/lock` });
  }
}

function notStore(resource: string, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy });
}
