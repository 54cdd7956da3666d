/**
 * System V objects of the host's IPC namespace. They do not belong to the tasks, but shared memory segments that tasks
 * have attached are saved with their content, and are found again or made again at the restore. Semaphores and message
 * queues are only used by ID and stay as they are, but for what tasks have to undo. Those of other IPC namespaces are
 * carried with these (namespaces/ipc).
 */
import { Part } from '../../../base/part.ts';
import type { DumpContext, TaskKind } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { mapFile } from '../../../kernel/proc/smaps.ts';
import { attachedSegments, foreignSegments, SEGMENTS } from '../../../namespaces/ipc/seen-segments.ts';
import type { SavedSegment } from '../../../namespaces/ipc/segments.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { restoreUndo, saveUndo } from './semaphores.ts';

const RESTORING = new Part(() => require('./segment.ts') as typeof import('./segment.ts'));
// Only where tasks have attached segments.
const SAVING = new Part(
  () => require('../../../namespaces/ipc/segments.ts') as typeof import('../../../namespaces/ipc/segments.ts'),
);

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
      const file = mapFile(task.pid, vma);
      saved.set(segment.id, SAVING.load().saveSegment(segment, namespace.id, file, tree.ids, context));
    }
  }
  if (mapped) images.writeEntries(Images.ipcnsShm, NAMESPACE_IDS.ipc_ns_id, [...saved.values()]);
}

/** Segments of System V shared memory. */
export const sysv: TaskKind = {
  name: 'sysv',
  obstacles: foreignSegments,
  drain: saveUndo,
  rebuild: { state: restoreUndo },
  tree: {
    capture,
    prepare: (context) => RESTORING.load().provideSegments(context),
    rebuilt: { mapped: (context) => RESTORING.load().markDestroyed(context) },
  },
};
