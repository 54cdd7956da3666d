/** Rebuilds the descriptors of a task: the files are opened here, handed over, and put in place. */

import { type LocalFd, taskFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { FileKind, RestoreTask } from '../../contract/contract.ts';
import type { FdinfoEntry, FileEntry } from '../../images/schema/files.ts';
import { FD_CLOEXEC, O } from '../../kernel/constants/files.ts';
import { SCM_MAX_FD } from '../../kernel/constants/sockets.ts';
import { growTable } from '../../kernel/descriptor-table.ts';
import { fileKinds } from '../../kinds/registry.ts';
import { handOver } from '../../tracee/handover.ts';

/**
 * Gives a task its descriptors. Before that it has only its socket. Each open file description is handed over once, for
 * its lowest number; further numbers are duplicates.
 */
export function placeDescriptors(task: RestoreTask): void {
  const ascending = inOrder(task);
  const first = firstOfEach(ascending);
  const originals = [...first.values()];
  growTable(originals.length);
  for (let at = 0; at < originals.length; at += SCM_MAX_FD) place(task, originals.slice(at, at + SCM_MAX_FD));
  for (const { id, fd, flags } of ascending) {
    const original = first.get(id)?.fd ?? fd;
    if (original !== fd) task.batch.call('dup3', original, fd, flags & FD_CLOEXEC ? O.CLOEXEC : 0);
  }
}

/**
 * Hands over and places a lot. The descriptors arrive under the lowest free numbers, none above its final number. So if
 * they are moved from the last to the first, none overwrites one that has not been moved yet.
 */
function place(task: RestoreTask, lot: readonly FdinfoEntry[]): void {
  const locals = lot.map(({ id }) => task.context.open(id));
  const arrived = handOver(task.seed, task.batch, locals);
  const waiting = new Set(arrived);
  for (let i = lot.length - 1; i >= 0; i--) {
    const entry = lot[i];
    const from = arrived[i];
    if (!entry || from === undefined) continue;
    waiting.delete(from);
    if (waiting.has(entry.fd))
      throw new StasisError({
        kind: 'internal',
        task: task.ref,
        resource: `fd ${entry.fd}`,
        reason: 'its place is taken by a descriptor that arrived for another one',
      });
    const cloexec = (entry.flags & FD_CLOEXEC) !== 0;
    if (from !== entry.fd) {
      task.batch.call('dup3', from, entry.fd, cloexec ? O.CLOEXEC : 0);
      task.batch.call('close', from);
    } else if (cloexec) {
      task.batch.call('fcntl', entry.fd, 2, FD_CLOEXEC); // F_SETFD
    }
  }
}

/**
 * Runs the second steps of the file kinds, when every task has its descriptors and no watched file is opened any more.
 * Each step is done once, although several tasks may have the file. `sharers` are all tasks that share the descriptor
 * table of a task, itself included. `carried` are files in messages, for which there may be no descriptor.
 * @throws StasisError (image) for a file whose second step can be done in none of the tasks that have it
 */
export function finishDescriptors(
  tasks: readonly RestoreTask[],
  sharers: (task: RestoreTask) => readonly RestoreTask[],
  carried: ReadonlySet<number>,
): void {
  const finished = new Set<number>();
  const left = new Map<number, string>();
  const isThere = ({ type }: FileKind): boolean => tasks.some(({ fds }) => fds.some((place) => place.type === type));
  const early = fileKinds.filter((kind) => kind.makesItself && isThere(kind));
  const late = fileKinds.filter(({ makesItself }) => !makesItself);
  if (early.length > 0) finishKinds(early, tasks, sharers, finished, left);
  finishKinds(late, tasks, sharers, finished, left);
  const suits = (kind: FileKind, entry: FileEntry, task: RestoreTask): boolean =>
    !kind.suits || sharers(task).some((sharer) => kind.suits?.(entry, sharer));
  for (const id of carried) {
    if (finished.has(id)) continue;
    const found = finishCarried(id, tasks, suits);
    if (found) finished.add(id);
    else if (!left.has(id)) left.set(id, `file ${id}, in a message`);
  }
  for (const [id, resource] of left) {
    if (finished.has(id)) continue;
    const reason = 'no task has all the descriptors that it was made with';
    throw new StasisError({ kind: 'image', resource, reason });
  }
}

/** Runs the second steps of some kinds. Adds files to `finished`, and to `left` those that no task could finish yet. */
function finishKinds(
  kinds: readonly FileKind[],
  tasks: readonly RestoreTask[],
  sharers: (task: RestoreTask) => readonly RestoreTask[],
  finished: Set<number>,
  left: Map<number, string>,
): void {
  for (const task of tasks) {
    for (const { id, fd } of firstOfEach(inOrder(task)).values()) {
      const entry = task.context.fileEntries.get(id);
      const kind = entry && kinds.find((candidate) => candidate.type === entry.type);
      if (!entry || !kind?.finish || finished.has(id)) continue;
      if (kind.suits && !sharers(task).some((sharer) => kind.suits?.(entry, sharer))) {
        left.set(id, `fd ${fd} of task ${task.pid} (${kind.name})`);
        continue;
      }
      finished.add(id);
      const before = task.context.open(id);
      kind.finish(entry, taskFd(fd), task);
      const now = task.context.open(id);
      // The task has opened the file itself, so the placeholder in the other tasks is replaced.
      if (now !== before) for (const other of tasks) if (other !== task) replace(other, id, now);
    }
  }
}

/**
 * Runs the second step of a file in a message, with a descriptor that a task has for that time. Returns whether there
 * is such a task; there is nothing to do for kinds without a second step.
 */
function finishCarried(
  id: number,
  tasks: readonly RestoreTask[],
  suits: (kind: FileKind, entry: FileEntry, task: RestoreTask) => boolean,
): boolean {
  const [any] = tasks;
  const entry = any?.context.fileEntries.get(id);
  const kind = entry && fileKinds.find((candidate) => candidate.type === entry.type);
  if (!entry || !kind?.finish) return true;
  const task = tasks.find((candidate) => suits(kind, entry, candidate));
  if (!task) return false;
  const [arrived = 0] = handOver(task.seed, task.batch, [task.context.open(id)]);
  kind.finish(entry, taskFd(arrived), task);
  task.batch.call('close', arrived);
  return true;
}

/** Replaces all descriptors that a task has for a file by another open file description. */
function replace(task: RestoreTask, id: number, local: LocalFd): void {
  const places = task.fds.filter((place) => place.id === id);
  if (places.length === 0) return;
  const [arrived = 0] = handOver(task.seed, task.batch, [local]);
  for (const { fd, flags } of places) task.batch.call('dup3', arrived, fd, flags & FD_CLOEXEC ? O.CLOEXEC : 0);
  task.batch.call('close', arrived);
}

function inOrder(task: RestoreTask): FdinfoEntry[] {
  return [...task.fds].sort((a, b) => a.fd - b.fd);
}

/** The lowest descriptor of each open file description. */
function firstOfEach(ascending: readonly FdinfoEntry[]): Map<number, FdinfoEntry> {
  const first = new Map<number, FdinfoEntry>();
  for (const entry of ascending) if (!first.has(entry.id)) first.set(entry.id, entry);
  return first;
}
