/** The open file descriptions of a dump. Each has one ID, however many tasks and descriptors refer to it. */
import { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import type { DumpContext, FileKind, FileTable, OpenFile, SeenRef, SeenTree } from '../../contract/contract.ts';
import type { InputOf } from '../../images/message.ts';
import { FdTypes, type fileEntry } from '../../images/schema/files.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { findInOrder } from '../../kernel/kcmp.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { fileKinds } from '../../kinds/registry.ts';
import { inNetworkOf } from '../../namespaces/networks.ts';
import { isBareName } from './bare-name.ts';
import { keyOfPath } from './key-of-path.ts';
import { openPath } from './snapshot.ts';

// Only for a tree that cannot be carried.
const REFUSING = new Part(() => require('./unsupported-file.ts') as typeof import('./unsupported-file.ts'));

/** The kinds of open file descriptions, for each of which hundreds of tasks may have a descriptor. */
const KINDS = new WeakMap<object, FileKind | 'none'>();

/** The kind of a descriptor; undefined if no kind carries it. */
export function kindOf(file: OpenFile): FileKind | undefined {
  let kind = KINDS.get(file.description);
  if (!kind) {
    kind = (isBareName(file) ? undefined : fileKinds.find((one) => one.recognises(file))) ?? 'none';
    KINDS.set(file.description, kind);
  }
  return kind === 'none' ? undefined : kind;
}

/** Loads the kinds of all open files of a tree, whose doors for the tree are called before any file is asked about. */
export function meetKinds({ tasks }: SeenTree): void {
  for (const { fds } of tasks) for (const file of fds) kindOf(file);
}

export class OpenFileTable implements FileTable {
  readonly entries: InputOf<typeof fileEntry>[] = [];
  /**
   * Open file descriptions by attributes that are cheap to compare. Those with equal attributes are sorted in kcmp's
   * order.
   */
  readonly #seen = new Map<string, Seen[]>();
  /** The IDs of those that were asked for before (OpenFile.description). */
  readonly #known = new WeakMap<object, number>();
  readonly #paths = new Map<string, number>();
  readonly #types = new Map<number, number>();
  #nextId = 1;
  #context: DumpContext | undefined;

  /** Sets the context, which itself refers to this table. */
  attach(context: DumpContext): void {
    this.#context = context;
  }

  newId(): number {
    return this.#nextId++;
  }

  idOf(file: OpenFile): number {
    let id = this.#known.get(file.description);
    if (id === undefined) {
      id = this.#find(file);
      this.#known.set(file.description, id);
    }
    return id;
  }

  #find(file: OpenFile): number {
    const key = `${file.stat.dev}:${file.stat.ino}:${file.pos}:${file.flags}`;
    const alike = this.#seen.get(key) ?? [];
    const same = findInOrder(alike, (other) =>
      trySyscall('kcmp', process.pid, process.pid, KCMP.FILE, file.local, other.file.local),
    );
    if (typeof same !== 'number') return same.id;
    const id = this.#capture(file);
    alike.splice(same, 0, { file, id });
    this.#seen.set(key, alike);
    return id;
  }

  idOfPath(task: SeenRef, via: string, flags: number): number {
    const of = keyOfPath(via);
    const key = `${of} ${flags}`;
    const known = of === undefined ? undefined : this.#paths.get(key);
    if (known !== undefined) return known;
    const file = openPath(task, via, flags);
    try {
      const id = this.#capture(file);
      if (of !== undefined) this.#paths.set(key, id);
      return id;
    } finally {
      trySyscall('close', file.local);
    }
  }

  typeOf(id: number): number {
    return this.#types.get(id) ?? FdTypes.UND;
  }

  #capture(file: OpenFile): number {
    const kind = kindOf(file);
    if (!kind) throw REFUSING.load().unsupportedFile(file);
    if (!this.#context) throw new StasisError({ kind: 'internal', reason: 'file table without context' });
    const id = this.newId();
    const context = this.#context;
    const draft = inNetworkOf(file, context.tree, () => kind.capture(file, id, context));
    this.entries.push({ type: kind.type, id, ...draft });
    this.#types.set(id, kind.type);
    return id;
  }
}

/** An open file description and its ID. */
interface Seen {
  readonly file: OpenFile;
  readonly id: number;
}
