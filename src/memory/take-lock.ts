/** Locks that live through a mapping alone, the second half: taken again with the descriptor the file is mapped by. */
import { StasisError } from '../base/errors.ts';
import type { RestoreContext, RestoreTask } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { LOCK } from '../kernel/constants/files.ts';
import { describeErrno, ERRNO } from '../kernel/syscall.ts';
import { mappedLockOf } from '../support/mapped-lock.ts';

/** Files whose locks are taken. */
const TAKEN = new Slot((_: RestoreContext) => new Set<number>());

/**
 * Has the task, which has the mapped file `id` as `fd` for the moment, take the lock on it. In the task, since the kernel
 * tells who took it. Tasks that map the same file have one open file, so the first of them does it for all.
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
      resource: `lock on ${task.context.files.get(id)?.reg?.name ?? `file ${id}`}`,
      reason: held
        ? 'another process holds a conflicting lock on the file'
        : `it cannot be taken: ${describeErrno(errno)}`,
    });
  });
}
