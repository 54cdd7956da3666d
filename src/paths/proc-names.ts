/**
 * Names of files of /proc about processes of the tree, where the tree has a PID namespace of its own and the /proc that
 * it uses has not. Such a name has the number that the process has outside (`/proc/self/net/dev` is opened so), which
 * is another one after the restore. A note says which process it is.
 */
import type { DumpContext, OpenFile, RestoreContext, SeenTree } from '../contract/contract.ts';
import { list, whole } from '../images/form.ts';
import type { RegFileEntry } from '../images/schema/files.ts';
import { placeOf } from '../namespaces/places.ts';
import { notedFile, noteFile } from '../support/file-notes.ts';

/** The process in such a name, and the thread if there is one. */
const NUMBERS = /^\/proc\/(\d+)(?:\/task\/(\d+))?(?=\/|$)/;

const NOTE = 'proc';
const form = list(whole);

/** Whether the /proc that a file is found by has other numbers of processes than the images. */
export function countsOtherwise(file: OpenFile, tree: SeenTree): boolean {
  return tree.pids.depth > 0 && !placeOf(file, tree);
}

/** Notes whose file it is, if it is one about a process of the tree. The files of others keep their names. */
export function noteProcesses(file: OpenFile, name: string, id: number, context: DumpContext): void {
  const { tree } = context;
  const [, ...numbers] = countsOtherwise(file, tree) ? (NUMBERS.exec(name) ?? []) : [];
  const pids = numbers.flatMap((digits) => (digits === undefined ? [] : [tree.pids.saved(Number(digits))]));
  if (pids.length > 0 && pids.every((pid) => pid > 0)) noteFile(context, NOTE, id, pids);
}

/** The name that a file has here. @throws ImageError for a note of another form */
export function nameHere(entry: RegFileEntry, context: RestoreContext): string {
  if (!entry.name.startsWith('/proc/')) return entry.name;
  const noted = notedFile(context, NOTE, entry.id, form);
  if (!noted) return entry.name;
  const [pid = 0, tid] = noted.map((saved) => context.hostPid(saved) ?? 0);
  return entry.name.replace(NUMBERS, tid === undefined ? `/proc/${pid}` : `/proc/${pid}/task/${tid}`);
}
