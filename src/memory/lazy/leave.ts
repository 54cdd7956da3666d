/** Leaves pages of a task to somebody who brings them when they are needed. */
import { type LocalFd, localFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import type { LazyDelivery, RestoreTask } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { USERFAULTFD_IOC_NEW } from '../../kernel/constants/memory.ts';
import { tryOpen } from '../../kernel/files.ts';
import { borrow, openPidfd } from '../../kernel/pidfd.ts';
import { describeErrno, Fd } from '../../kernel/syscall.ts';
import { tryBringPages, tryRegisterMissing } from '../../kernel/userfault-missing.ts';
import { handOver } from '../../tracee/handover.ts';
import { allowHugePages } from '../huge-pages.ts';
import { anyBetween, totalOf } from '../plan/ranges.ts';
import { spaceOf } from '../space.ts';

/** The file by which a process without CAP_SYS_PTRACE makes a userfaultfd that serves system calls as well. */
const DEVICE = '/dev/userfaultfd';

/**
 * Registers the mappings that lazy pages are in. From then on whoever touches a page that is not there waits for
 * `delivery`; so this is the last thing that is done to an address space. @throws StasisError
 */
export function leaveToDelivery(task: RestoreTask, delivery: LazyDelivery): void {
  const { mappings = [], lazy = [] } = spaceOf(task) ?? {};
  const watched = mappings.filter(({ start, length }) => anyBetween(lazy, start, start + length));
  if (watched.length > 0) {
    using userfault = makeUserfault(task);
    orThrow(tryBringPages(userfault.number), 'the interface');
    for (const { start, length } of watched) {
      orThrow(tryRegisterMissing(userfault.number, start, length), `mapping ${start.toString(16)}`);
    }
    delivery.hand(task.pid, userfault.number);
    logDebug(`memory: ${totalOf(lazy)} bytes of task ${task.pid} are brought later`);
  }
  allowHugePages(task);
  task.batch.flush();
}

/**
 * A userfaultfd of the task's address space. The task makes it, since it is of the address space of whoever makes it,
 * and closes it when we have it.
 */
function makeUserfault(task: RestoreTask): Fd {
  const flags = O.CLOEXEC | O.NONBLOCK;
  const program = task.batch.reserve(1);
  const called = program.attempt('userfaultfd', flags);
  task.batch.flush();
  const made = program.result(called);
  const number = made < 0 ? makeByDevice(task, flags, made) : made;
  using pidfd = openPidfd(task.tracee.pid);
  const userfault = new Fd(borrow(pidfd, number));
  task.batch.call('close', number);
  task.batch.flush();
  return userfault;
}

/** A process in a user namespace has no capability that counts here, but may use a device that is open. */
function makeByDevice(task: RestoreTask, flags: number, refused: number): number {
  const opened = tryOpen(DEVICE, O.RDWR | O.CLOEXEC);
  if (opened < 0) throw unavailable('userfaultfd', refused);
  using device = new Fd(opened);
  const [theirs = -1] = handOver(task.seed, task.batch, [localFd(device.number as LocalFd)]);
  const program = task.batch.reserve(2);
  const made = program.attempt('ioctl', theirs, USERFAULTFD_IOC_NEW, flags);
  program.call('close', theirs);
  task.batch.flush();
  const number = program.result(made);
  if (number < 0) throw unavailable(DEVICE, number);
  return number;
}

function orThrow(result: number, what: string): void {
  if (result < 0) throw unavailable(`userfaultfd, ${what}`, result);
}

function unavailable(resource: string, result: number): StasisError {
  return new StasisError({
    kind: 'kernel',
    code: 'LAZY_PAGES_UNREACHABLE',
    resource,
    reason: `pages cannot be brought later: ${describeErrno(result)}`,
    remedy: 'restore without --lazy-pages; it takes CONFIG_USERFAULTFD, and root',
  });
}
