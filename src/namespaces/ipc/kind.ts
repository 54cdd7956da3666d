/**
 * IPC namespaces: System V shared memory, semaphores and message queues, POSIX message queues, and the settings. The
 * images are those of CRIU: `ipcns-var-N.img`, `-shm`, `-sem` and `-msg`; POSIX queues have a file of our own. What the
 * kernel lets nobody set is not as it was: the times of the last operations, and the processes that did them.
 */
import { StasisError } from '../../base/errors.ts';
import type {
  DumpContext,
  MadeNamespace,
  NamespaceDoors,
  RestoreContext,
  SeenNamespace,
  SeenTree,
} from '../../contract/contract.ts';
import { Images } from '../../images/kinds.ts';
import { mapFile } from '../../kernel/proc/smaps.ts';
import { inside } from '../inside.ts';
import { ownerIds } from '../user/saved.ts';
import { objectName } from './objects.ts';
import {
  makePosixQueues,
  posixQueueObstacles,
  savedPosixQueues,
  savePosixQueues,
  withRoomForPosix,
} from './posix-queues.ts';
import { makeQueue, queueObstacles, saveQueues, withRoomFor } from './queues.ts';
import { attachedSegments, insideIpc, SEGMENTS } from './seen-segments.ts';
import { fillSegment, holdSegment, makeSegment, markIfDestroyed, SAVED_SEGMENTS, saveSegment } from './segments.ts';
import { makeSemaphores, saveSemaphores } from './semaphores.ts';
import { readVariables, restoreVariables, widenLimits } from './variables.ts';

function obstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const variables = insideIpc(namespace, readVariables);
  return [
    ...insideIpc(namespace, () => queueObstacles(namespace, variables.msg_ctlmax)),
    ...insideIpc(namespace, () => posixQueueObstacles(namespace)),
    ...(variables.shm_rmid_forced === 0 ? [] : forced(namespace, tree)),
  ];
}

/**
 * Segments that nobody has attached although the kernel destroys such. They exist as long as the process that has made
 * them, and would be destroyed when Stasis detaches them again.
 */
function forced(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const alone = [...SEGMENTS.of(tree, namespace).values()].filter(({ attached }) => attached === 0);
  return alone.map(
    (segment) =>
      new StasisError({
        kind: 'unsupported',
        code: 'SYSV_SEGMENT_FORCED',
        resource: `${objectName('shm', segment)} of IPC namespace ${namespace.ino}`,
        reason: 'nobody has it attached, and it would be destroyed by a look at it (kernel.shm_rmid_forced)',
        remedy: 'have a process attach it, or set kernel.shm_rmid_forced to 0 inside the namespace',
      }),
  );
}

function capture(namespace: SeenNamespace, context: DumpContext): void {
  const { id } = namespace;
  const { images, tree } = context;
  const { ids } = tree;
  const mappings = mappingsIn(namespace);
  insideIpc(namespace, () => {
    const segments = [...SEGMENTS.of(tree, namespace).values()];
    images.write(Images.ipcVar, id, [readVariables()]);
    images.writeEntries(
      Images.ipcnsShm,
      id,
      segments.map((segment) => saveSegment(segment, id, mappings.get(segment.id), ids, context)),
    );
    images.writeEntries(Images.ipcnsMsg, id, saveQueues(ids));
    images.writeEntries(Images.ipcnsSem, id, saveSemaphores(ids));
    savePosixQueues(id, ids, context);
  });
}

/** For each segment that a process of the tree has attached, a path that leads to it. */
function mappingsIn({ members }: SeenNamespace): ReadonlyMap<number, string> {
  return new Map(
    members.flatMap((task) => attachedSegments(task).map((vma) => [Number(vma.ino), mapFile(task.pid, vma)])),
  );
}

function rebuild(namespace: MadeNamespace, context: RestoreContext): void {
  const { id, fd } = namespace;
  const { images } = context;
  const variables = images.readOne(Images.ipcVar, id);
  const queues = images.readEntries(Images.ipcnsMsg, id);
  const semaphores = images.readEntries(Images.ipcnsSem, id);
  const posixQueues = savedPosixQueues(id, context);
  const { ids } = context;
  inside('ipc', fd, () => {
    widenLimits(withRoomForPosix(posixQueues, withRoomFor(queues, variables)), ownerIds(namespace, context));
    for (const segment of SAVED_SEGMENTS.of(context, id).values()) {
      makeSegment(segment.message, ids);
      fillSegment(segment, id, holdSegment(segment.message, context), context);
    }
    for (const queue of queues) makeQueue(queue, ids);
    for (const array of semaphores) makeSemaphores(array, ids);
    makePosixQueues(posixQueues, ids);
  });
}

/** When all tasks have attached their segments: what destroys segments, and the limits, which may be lower. */
function finish(namespace: MadeNamespace, context: RestoreContext): void {
  const { id, fd } = namespace;
  const variables = context.images.readOne(Images.ipcVar, id);
  inside('ipc', fd, () => {
    for (const { message } of SAVED_SEGMENTS.of(context, id).values()) markIfDestroyed(message);
    restoreVariables(variables, ownerIds(namespace, context));
  });
}

/** System V objects, and the settings for them. */
export const ipcNamespaces: NamespaceDoors = {
  obstacles,
  capture,
  rebuild,
  finish,
};
