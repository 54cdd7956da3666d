/** Files that only the task itself can open, or only when it has all its other descriptors. */
import { cstring } from '../base/text.ts';
import type { RestoreTask } from '../contract/contract.ts';
import { AT, FD_CLOEXEC, O, SEEK } from '../kernel/constants/files.ts';
import { Fd, syscall } from '../kernel/syscall.ts';

/** Keeps the place of a file until {@link openInTask} opens it: any file will do. */
export const PLACEHOLDER = '/dev/null';

/**
 * Has the task open `path` in all places of file `id`, in the second step of its kind. Other tasks that have the same
 * open file get this one.
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
  if (place) task.context.adopt(id, borrow(task.pid, place.fd));
}

function borrow(pid: number, fd: number): number {
  using pidfd = new Fd(syscall('pidfd_open', pid, 0));
  return syscall('pidfd_getfd', pidfd.number, fd, 0);
}
