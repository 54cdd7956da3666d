/**
 * Takes flock(2) locks again whose open file only a mapping keeps alive, through the descriptor that is used to map the
 * file. See support/mapped-lock.ts.
 */
import { StasisError } from '../base/errors.ts';
import type { RestoreContext, RestoreTask } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { LOCK } from '../kernel/constants/files.ts';
import { describeErrno, ERRNO } from '../kernel/syscall.ts';
import { mappedLockOf } from '../support/mapped-lock.ts';

/** IDs of the files whose locks have been taken. */
const TAKEN = new Slot((_: RestoreContext) => new Set<number>());

/**
 * Has the task take the lock on the mapped file `id`, for which it has the descriptor `fd` at the moment. The task
 * itself takes it, since the kernel records the PID of the caller. Tasks that map the same file share one open file
 * description, so the first of them does it for all.
 * @throws StasisError (conflict) if somebody else holds the lock
 */
export function takeMappedLock(task: RestoreTask, id: number, fd: number): void {
  const lock = mappedLockOf(task.context, id);
  const taken = lock && TAKEN.of(task.context);
  if (!taken || taken.has(id)) return;
  taken.add(id);
  const operation = (lock.exclusive ? LOCK.EX : LOCK.SH) | LOCK.NB;
  const result = task.batch.reserve(1).attempt('flock', fd, operation);
  task.batch.after((program) => {
    const errno = -program.result(result);
    if (errno <= 0) return;
    const held = errno === ERRNO.EAGAIN;
    throw new StasisError({
      kind: held ? 'conflict' : 'kernel',
      task: task.ref,
      resource: `lock on ${task.context.fileEntries.get(id)?.reg?.name ?? `file ${id}`}`,
      reason: held
        ? 'another process holds a conflicting lock on the file'
        : `it cannot be taken: ${describeErrno(errno)}`,
    });
  });
}
