/**
 * What tasks have to undo to semaphores at their end (SEM_UNDO, semop(2)). The kernel undoes it when a dumped task
 * ends: semaphores of the host change, those of a namespace of the tree's own are saved as they were before. At the
 * restore the task does operations that have the same to be undone.
 */
import { logDebug } from '../../../base/log.ts';
import { Part } from '../../../base/part.ts';
import type { DumpContext, DumpTask, RestoreTask, SeenNamespace } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { IPC, SEM_CTL, SEM_UNDO } from '../../../kernel/constants/ipc.ts';
import { Sembuf } from '../../../kernel/layouts/ipc.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import { parseSysvSem, type SysvSemaphores } from '../../../kernel/proc/sysvipc.ts';
import { describeErrno, trySyscall } from '../../../kernel/syscall.ts';
import { insideIpc } from '../../../namespaces/ipc/seen-segments.ts';
import { SAVED_IDS, wasOurs } from '../../../namespaces/made.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';

// Only where there are semaphores.
const UNDO = new Part(
  () => require('../../../kernel/semaphore-undo.ts') as typeof import('../../../kernel/semaphore-undo.ts'),
);

/** The arrays of an IPC namespace, and for each process that was the last to change semaphores the arrays of these. */
const ARRAYS = new KeyedSlot((_: DumpContext, namespace: SeenNamespace) =>
  insideIpc(namespace, () => {
    const arrays = parseSysvSem(readSystem('/proc/sysvipc/sem'));
    return { counts: new Map(arrays.map(({ id, count }) => [id, count])), changes: lastChanges(arrays) };
  }),
);

function lastChanges(arrays: readonly SysvSemaphores[]): ReadonlyMap<number, ReadonlySet<number>> {
  const found = new Map<number, Set<number>>();
  for (const { id, count } of arrays) {
    for (let number = 0; number < count; number++) {
      const pid = trySyscall('semctl', id, number, SEM_CTL.GETPID);
      if (pid > 0) found.set(pid, (found.get(pid) ?? new Set()).add(id));
    }
  }
  return found;
}

/** Lists that are saved with another process, which has them in common (CLONE_SYSVSEM). */
const SAVED_LISTS = new Slot((_: DumpContext) => new Set<bigint>());

/** Saves what a task has to undo. Where the kernel does not tell it, the user is told that it may be lost. */
export function saveUndo(task: DumpTask): void {
  const namespace = SEEN_NAMESPACES.of(task.tree).of(task.pid, 'ipc');
  if (!namespace) return;
  const { counts, changes } = ARRAYS.of(task.context, namespace);
  const changed = changes.get(task.pid);
  // The host may have arrays that have nothing to do with the tree.
  if (counts.size === 0 || (namespace.ours && !changed)) return;
  const [file] = task.fds;
  const list = file && UNDO.load().undoOf(task.pid, file.fd, counts, file.local);
  if (!list) {
    if (changed) warn(task, changed, namespace);
    return;
  }
  const saved = SAVED_LISTS.of(task.context);
  if (list.undo.length === 0 || saved.has(list.address)) return;
  saved.add(list.address);
  task.ownState.semaphoreUndo = list.undo.map(({ id, adjustments }) => ({ id, adjustments }));
}

function warn(task: DumpTask, arrays: ReadonlySet<number>, { ours }: SeenNamespace): void {
  if (task.options.leaveRunning) return;
  const which = `semaphore array${arrays.size === 1 ? '' : 's'} ${[...arrays].join(', ')}`;
  const undone = ours ? 'is undone at its end, now, and ' : 'is ';
  const reason = `the process has changed ${which}: what it has to undo (SEM_UNDO) ${undone}not known to it`;
  task.context.notice({ task: task.ref, reason: `${reason} when it is restored` });
}

/** Has a task do operations that are undone at its end as the saved ones were to be. */
export function restoreUndo(task: RestoreTask): void {
  const { context, pid, batch } = task;
  const isHost = wasOurs(context, 'ipc', SAVED_IDS.of(context, pid).ipc);
  for (const { id, adjustments } of task.ownState.semaphoreUndo ?? []) {
    for (const [num, adjustment] of adjustments.entries()) {
      if (adjustment === 0) continue;
      const operations = isHost ? [undone(num, -adjustment)] : withoutEffect(num, adjustment);
      const program = batch.reserve(1, operations.length * Sembuf.size + 8);
      const bytes = new Uint8Array(operations.length * Sembuf.size);
      for (const [i, operation] of operations.entries()) Sembuf.encodeInto(bytes, i * Sembuf.size, operation);
      const asked = program.attempt('semop', id, program.data(bytes), operations.length);
      batch.after((done) => {
        const result = done.result(asked);
        if (result >= 0) return;
        const reason = `what it had to undo to semaphore ${num} (SEM_UNDO) is not to be undone any more`;
        context.notice({
          task: task.ref,
          resource: `semaphore array ${id}`,
          reason: `${reason}: ${describeErrno(result)}`,
        });
      });
    }
  }
  if (task.ownState.semaphoreUndo) logDebug(`task ${pid} has semaphores to undo`);
}

/** An operation that is undone at the end. What it needs may have been taken by others meanwhile. */
function undone(num: number, op: number): Partial<ReturnType<typeof Sembuf.decode>> {
  return { num, op, flags: SEM_UNDO | IPC.NOWAIT };
}

/** Operations that leave a semaphore as it is, of which one is undone. The one that adds is first. */
function withoutEffect(num: number, adjustment: number): Partial<ReturnType<typeof Sembuf.decode>>[] {
  const plain = { num, op: adjustment, flags: IPC.NOWAIT };
  return adjustment > 0 ? [plain, undone(num, -adjustment)] : [undone(num, -adjustment), plain];
}
