/** Semaphores for which a task may have SEM_UNDO adjustments (semop(2)), which the kernel does not show. */
import { SEM_CTL } from '../../../kernel/constants/ipc.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import { parseSysvSem } from '../../../kernel/proc/sysvipc.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

/** For each process that was the last to change a semaphore: the IDs of their arrays. */
export function lastChanges(): ReadonlyMap<number, ReadonlySet<number>> {
  const found = new Map<number, Set<number>>();
  for (const { id, count } of parseSysvSem(readSystem('/proc/sysvipc/sem'))) {
    for (let number = 0; number < count; number++) {
      const pid = trySyscall('semctl', id, number, SEM_CTL.GETPID);
      if (pid > 0) found.set(pid, (found.get(pid) ?? new Set()).add(id));
    }
  }
  return found;
}
