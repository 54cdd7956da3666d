/**
 * System V objects of the host's IPC namespace. They do not belong to the tasks, but shared memory segments that tasks
 * have attached are saved with their content, and are found again or made again at the restore. Semaphores and message
 * queues are only used by ID and stay as they are. Those of other IPC namespaces are carried with these
 * (namespaces/ipc).
 */
import type { DumpContext, DumpTask, SeenNamespace, TaskKind } from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { mapFile } from '../../../kernel/proc/smaps.ts';
import { attachedSegments, foreignSegments, insideSeen, SEGMENTS } from '../../../namespaces/ipc/seen-segments.ts';
import { type SavedSegment, saveSegment } from '../../../namespaces/ipc/segments.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { IdMaps } from '../../../namespaces/user-ids.ts';
import { markDestroyed, provideSegments } from './segment.ts';
import { lastChanges } from './semaphores.ts';

/** Saves the segments the tasks of a tree have attached, each once. */
function capture(context: DumpContext): void {
  const { tree, images } = context;
  const saved = new Map<number, SavedSegment>();
  let mapped = false;
  for (const task of tree.tasks) {
    const namespace = SEEN_NAMESPACES.of(tree).of(task.pid, 'ipc');
    if (!namespace?.ours) continue;
    for (const vma of attachedSegments(task)) {
      mapped = true;
      const segment = SEGMENTS.of(tree, namespace).get(Number(vma.ino));
      if (!segment || saved.has(segment.id)) continue;
      saved.set(segment.id, saveSegment(segment, namespace.id, mapFile(task.pid, vma), new IdMaps(), context));
    }
  }
  if (mapped) images.writeEntries(Images.ipcnsShm, NAMESPACE_IDS.ipc_ns_id, [...saved.values()]);
}

/** The processes that last changed semaphores of an IPC namespace. */
const CHANGES = new KeyedSlot((_: DumpContext, namespace: SeenNamespace) => insideSeen(namespace, lastChanges));

/**
 * Warns about SEM_UNDO: its adjustments are applied when the dumped task ends, and the restored task does not know
 * that. In a namespace of the tree's own the semaphores are saved as they were before.
 */
function warnOfDebts(task: DumpTask): void {
  const namespace = SEEN_NAMESPACES.of(task.tree).of(task.pid, 'ipc');
  if (!namespace || task.options.leaveRunning) return;
  const arrays = CHANGES.of(task.context, namespace).get(task.pid);
  if (!arrays) return;
  const which = `semaphore array${arrays.size === 1 ? '' : 's'} ${[...arrays].join(', ')}`;
  const undone = namespace.ours ? 'is undone at its end, now, and ' : 'is ';
  const reason = `the process has changed ${which}: what it has to undo (SEM_UNDO) ${undone}not known to it`;
  task.context.notice({ task: task.ref, reason: `${reason} when it is restored` });
}

/** Segments of System V shared memory. */
export const sysv: TaskKind = {
  name: 'sysv',
  obstacles: foreignSegments,
  drain: warnOfDebts,
  tree: { capture, prepare: provideSegments, rebuilt: { mapped: markDestroyed } },
};
