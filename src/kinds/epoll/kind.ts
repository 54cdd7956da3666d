/** epoll(7). */
import { StasisError } from '../../base/errors.ts';
import { FdTypes } from '../../images/schema/files.ts';
import { EPOLL_CTL, O } from '../../kernel/constants/files.ts';
import { namesIn } from '../../kernel/files.ts';
import { EpollEvent } from '../../kernel/layouts/files.ts';
import type { EpollTarget } from '../../kernel/proc/fddetail.ts';
import { syscall } from '../../kernel/syscall.ts';
import type { FileKind, OpenFile } from '../contract.ts';
import { describeFile, detailIfAny, partOf } from '../detail.ts';
import { captureOwner, imageFlags, settle } from '../fown.ts';
import { type Candidate, resolveTargets } from './targets.ts';

/** Calls made in the task at a time. */
const LOT = 256;

/** What the last look for obstacles found: the comparison takes long when there are many targets. */
const resolved = new WeakMap<OpenFile, (number | undefined)[]>();

export const epollKind: FileKind = {
  name: 'epoll',
  type: FdTypes.EVENTPOLL,

  recognises: (file) => file.link === 'anon_inode:[eventpoll]',

  obstacle(file, task) {
    const targets = targetsOf(file);
    const found = resolveTargets(task.pid, file.fd, targets, task.fds);
    resolved.set(file, found);
    const lost = found.indexOf(undefined);
    return lost < 0 ? undefined : closedTarget(file, targets[lost] as EpollTarget);
  },

  capture(file, id) {
    const targets = targetsOf(file);
    const found = resolved.get(file) ?? resolveTargets(file.task.pid, file.fd, targets, descriptorsOf(file));
    const tfd = targets.map((target, i) => {
      const fd = found[i];
      if (fd === undefined) throw closedTarget(file, target);
      const { events, data, sdev, ino, pos } = target;
      return { id: 0, tfd: fd, events, data, dev: sdev, inode: ino, pos };
    });
    return { epfd: { id, flags: imageFlags(file.flags), fown: captureOwner(file.local, file.flags), tfd } };
  },

  rebuild(entry) {
    const { flags, fown } = partOf(entry, 'epfd');
    const fd = syscall('epoll_create1', O.CLOEXEC);
    settle(fd, flags, fown);
    return fd;
  },

  // Targets are numbers of the task's, and are remembered as such: the task adds them itself.
  finish(entry, fd, task) {
    const { tfd } = partOf(entry, 'epfd');
    for (let at = 0; at < tfd.length; at += LOT) {
      const lot = tfd.slice(at, at + LOT);
      const program = task.batch.reserve(lot.length, lot.length * EpollEvent.size);
      for (const { tfd: target, events, data } of lot) {
        program.call('epoll_ctl', fd, EPOLL_CTL.ADD, target, program.data(EpollEvent.encode({ events, data })));
      }
    }
  },
};

function targetsOf(file: OpenFile): readonly EpollTarget[] {
  return detailIfAny(file, 'epoll')?.targets ?? [];
}

/** The numbers the task has in use: the same that are dumped, since it is frozen. */
function descriptorsOf(file: OpenFile): Candidate[] {
  const numbers = namesIn(`/proc/${file.task.pid}/fd`).map(Number);
  return numbers.sort((a, b) => a - b).map((fd) => ({ fd }));
}

function closedTarget(file: OpenFile, target: EpollTarget): StasisError {
  return new StasisError({
    kind: 'unsupported',
    task: file.task,
    resource: describeFile(file),
    reason: `it watches a file that was added as descriptor ${target.tfd} and that the process itself has closed since`,
  });
}
