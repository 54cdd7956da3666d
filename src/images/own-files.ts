/**
 * The files that Stasis adds to an image set: their names and their forms. They do not end in `.img`, so CRIU's tools
 * do not read them.
 */
import {
  base64,
  decimal,
  dictionary,
  type FormType,
  hexadecimal,
  list,
  object,
  oneOf,
  optional,
  readJson,
  signed,
  text,
  whole,
} from './form.ts';
import { imageName, type RawKind } from './kind.ts';

/** The file for state of one process and its threads that CRIU's schema has no place for. */
export function ownStateName(pid: number): string {
  return `stasis-task-${pid}.json`;
}

/**
 * The file for the pagemap of a task or segment whose pages went to a page server: in the form of a pagemap image, and
 * so that the next dump of a chain knows what there is.
 */
export function sentPagemapName(kind: RawKind, id: number | bigint): string {
  return `stasis-${imageName(kind, id).replace(/\.img$/, '')}`;
}

/** Page contents that are compressed, in place of `pages-N.img` (seek-table.ts). */
export function compressedName(pagesId: number): string {
  return `stasis-pages-${pagesId}.zst`;
}

/** The ID in such a name; undefined if it is another one. */
export function idOfCompressedPages(name: string): string | undefined {
  return /^stasis-pages-(\d+)\.zst$/.exec(name)?.[1];
}

/** The list of page contents that deduplication has freed (support/freed-pages.ts). */
export const FREED = 'stasis-freed.json';

const policy = { mode: whole, nodes: hexadecimal };

/** What can be told of each thread; docs/formats.md says what it means. */
const thread = {
  restart: optional(object({ nr: whole, args: list(decimal), remaining: decimal })),
  identity: optional(
    object({
      personality: optional(whole),
      timerSlack: optional(whole),
      tsc: optional(whole),
      mceKill: optional(whole),
      ioFlusher: optional(whole),
      speculation: optional(dictionary(whole)),
    }),
  ),
  scheduling: optional(
    object({
      cpus: optional(text),
      ioprio: optional(whole),
      runtime: optional(decimal),
      deadline: optional(decimal),
      period: optional(decimal),
      flags: optional(whole),
      utilMin: optional(whole),
      utilMax: optional(whole),
    }),
  ),
  numa: optional(object(policy)),
  xsave: optional(base64),
  unshared: optional(list(oneOf('files', 'fs'))),
};

/** What can be told of a process besides. */
const process = {
  process: optional(
    object({
      coredumpFilter: optional(whole),
      thp: optional(whole),
      exitSignal: optional(whole),
      memoryMerge: optional(whole),
      mdwe: optional(whole),
    }),
  ),
  memory: optional(
    object({
      names: optional(dictionary(text)),
      lockedOnFault: optional(list(hexadecimal)),
      sealed: optional(list(hexadecimal)),
      common: optional(object({ of: whole, pages: list(whole) })),
      pages: optional(whole),
    }),
  ),
  protectionKeys: optional(
    object({ allocated: list(whole), executeOnly: optional(whole), mappings: dictionary(whole) }),
  ),
  futureLocks: optional(oneOf('atOnce', 'onFault')),
  numaMappings: optional(list(object({ start: whole, ...policy }))),
  xcomp: optional(list(whole)),
  stops: optional(list(whole)),
  autogroup: optional(object({ nice: signed })),
  terminal: optional(oneOf('none')),
  timeForChildren: optional(whole),
  lastPid: optional(whole),
  semaphoreUndo: optional(list(object({ id: whole, adjustments: list(signed) }))),
};

const threadForm = object(thread);
const processForm = object({ ...thread, ...process });

/** What our own file has to say of a thread. */
export type OwnThreadState = FormType<typeof threadForm>;

/** What our own file has to say of a process and its main thread. */
export type OwnProcessState = FormType<typeof processForm>;

/** Reads the file of a process, with what it says of some other threads. @throws ImageError naming the field */
export function readOwnState(
  bytes: Uint8Array,
  pid: number,
  tids: readonly number[],
): { readonly own: OwnProcessState; readonly threads: ReadonlyMap<number, OwnThreadState> } {
  const file = ownStateName(pid);
  const others = object(Object.fromEntries(tids.map((tid) => [String(tid), optional(threadForm)])));
  const threads = readJson(others, bytes, file) as Readonly<Record<string, OwnThreadState | undefined>>;
  return {
    own: readJson(processForm, bytes, file),
    threads: new Map(tids.map((tid) => [tid, threads[String(tid)] ?? {}])),
  };
}
