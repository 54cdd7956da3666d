/** The flags of descriptors, which a table of descriptors holds apart from the open files. */

import type { TaskFd } from '../../base/brands.ts';
import type { DumpTask } from '../../contract/contract.ts';
import { F, FD_CLOEXEC } from '../../kernel/constants/files.ts';
import type { Ref } from '../../tracee/program.ts';
import type { Remote } from '../../tracee/remote.ts';

/**
 * The flags of the descriptors of a task, without those that have none. The task itself is asked for what its snapshot
 * does not tell: many at once take it less time than one of them takes us by way of /proc.
 */
export function fdFlagsOf({ fds }: DumpTask, remote: Remote): ReadonlyMap<TaskFd, number> {
  const flags = new Map<TaskFd, number>();
  for (const { fd, cloexec } of fds) if (cloexec) flags.set(fd, FD_CLOEXEC);
  const unseen = fds.filter(({ cloexec }) => cloexec === undefined);
  while (unseen.length > 0) {
    const asked: { fd: TaskFd; answer: Ref }[] = [];
    const { program } = remote.do((calls) => {
      while (unseen.length > 0 && calls.fits(1)) {
        const { fd } = unseen.pop() as (typeof unseen)[number]; // there is one
        asked.push({ fd, answer: calls.call('fcntl', fd, F.GETFD) });
      }
    });
    for (const { fd, answer } of asked) {
      const value = program.result(answer);
      if (value !== 0) flags.set(fd, value);
    }
  }
  return flags;
}
