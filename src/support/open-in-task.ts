/** Files that only the task itself can open, or only after it has all its other descriptors. */
import { cstring } from '../base/text.ts';
import type { RestoreTask } from '../contract/contract.ts';
import { AT, FD_CLOEXEC, O, SEEK } from '../kernel/constants/files.ts';
import { borrow, openPidfd } from '../kernel/pidfd.ts';

/** The file that occupies descriptor numbers until {@link openInTask} opens the right one. */
export const PLACEHOLDER = '/dev/null';

/**
 * Has the task open `path` at all its descriptors for file `id`, in the second step of the kind. Other tasks that share
 * the open file description get this one.
 */
export function openInTask(task: RestoreTask, id: number, path: string, flags: number, pos = 0n): void {
  const places = task.fds.filter((place) => place.id === id);
  const name = cstring(path);
  const program = task.batch.reserve(places.length + 3, name.length);
  const opened = program.call('openat', AT.FDCWD, program.data(name), flags | O.NOCTTY, 0);
  if (pos !== 0n) program.call('lseek', opened, pos, SEEK.SET);
  for (const { fd, flags: fdFlags } of places) {
    program.call('dup3', opened, fd, fdFlags & FD_CLOEXEC ? O.CLOEXEC : 0);
  }
  program.call('close', opened);
  task.batch.flush();
  const [place] = places;
  if (!place) return;
  using pidfd = openPidfd(task.tracee.pid);
  task.context.adopt(id, borrow(pidfd, place.fd));
}
