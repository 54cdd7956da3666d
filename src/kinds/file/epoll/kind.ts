/** epoll(7). */

import type { StasisError, TaskRef } from '../../../base/errors.ts';
import type { FileDoors, OpenFile, SeenTask, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { whole } from '../../../images/form.ts';
import { EPOLL_CTL, KCMP, O } from '../../../kernel/constants/files.ts';
import { EpollEvent } from '../../../kernel/layouts/files.ts';
import type { EpollTarget } from '../../../kernel/proc/fddetail.ts';
import { Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { detailIfAny, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { addedAs, addUnderOtherNumbers, noteAddedAs, planWatches } from './stale.ts';
import { hasAll, resolveTargets } from './targets.ts';

/** Calls in one program. */
const LOT = 256;

/**
 * The targets that the obstacle check has resolved, kept for the capture since the comparison is slow for many targets.
 */
const RESOLVED = new Slot((_: SeenTree) => new Map<OpenFile, readonly (number | undefined)[]>());

export const epollKind: FileDoors = {
  obstacle(file, task) {
    const targets = targetsOf(file);
    const lost = foundIn(file, task).indexOf(undefined);
    if (lost < 0 || knowing(file, task.tree)) return undefined;
    return closedTarget(file, targets[lost] as EpollTarget);
  },

  capture(file, id, context) {
    const { task, found } = knowing(file, context.tree) ?? { task: file.task, found: [] };
    if (task.pid !== file.task.pid) noteFile(context, 'epoll', id, context.tree.pids.saved(task.pid));
    const targets = targetsOf(file);
    noteAddedAs(
      context,
      id,
      targets.map(({ tfd: addedAs }, i) => (found[i] === addedAs ? undefined : addedAs)),
    );
    const tfd = targets.map((target, i) => {
      const fd = found[i];
      if (fd === undefined) throw closedTarget(file, target);
      const { events, data, sdev, ino, pos } = target;
      return { id: 0, tfd: fd, events, data, dev: sdev, inode: ino, pos };
    });
    return { epfd: { id, flags: imageFlags(file.flags), fown: captureOwner(file.local, file.flags, context), tfd } };
  },

  rebuild(entry, context) {
    const { flags, fown } = partOf(entry, 'epfd');
    using fd = new Fd(syscall('epoll_create1', O.CLOEXEC));
    setFlagsAndOwner(fd.number, flags, fown, context);
    return fd.release();
  },

  suits(entry, task) {
    const noted = notedFile(task.context, 'epoll', entry.id, whole);
    if (noted !== undefined) return noted === task.pid;
    return hasAll(
      task.fds,
      partOf(entry, 'epfd').tfd.map(({ tfd }) => tfd),
    );
  },

  // An epoll instance records the descriptor numbers of its targets, so the task itself adds them.
  finish(entry, fd, task) {
    const { tfd } = partOf(entry, 'epfd');
    const watches = planWatches(tfd, addedAs(task.context, entry.id));
    const plain = watches.filter(({ number }) => number === 'own');
    for (let at = 0; at < plain.length; at += LOT) {
      const lot = plain.slice(at, at + LOT);
      const program = task.batch.reserve(lot.length, lot.length * EpollEvent.size);
      for (const { fd: target, event } of lot) {
        program.call('epoll_ctl', fd, EPOLL_CTL.ADD, target, program.data(EpollEvent.encode(event)));
      }
    }
    addUnderOtherNumbers(
      fd,
      watches.filter(({ number }) => number !== 'own'),
      task,
    );
  },
};

function targetsOf(file: OpenFile): readonly EpollTarget[] {
  return detailIfAny(file, 'epoll')?.targets ?? [];
}

/** The task's descriptors for the targets of an instance; undefined for targets for which it has none. */
function foundIn(file: OpenFile, task: SeenTask): readonly (number | undefined)[] {
  const resolved = RESOLVED.of(task.tree);
  let found = resolved.get(file);
  if (!found) {
    found = resolveTargets(task.pid, { pid: task.pid, fd: file.fd }, targetsOf(file), task.fds);
    resolved.set(file, found);
  }
  return found;
}

/** The first task that has the instance and all of its targets. Other tasks may have closed some. */
function knowing(
  file: OpenFile,
  tree: SeenTree,
): { readonly task: TaskRef; readonly found: readonly (number | undefined)[] } | undefined {
  const first = RESOLVED.of(tree).get(file);
  if (first && !first.includes(undefined)) return { task: file.task, found: first };
  for (const task of tree.tasks) {
    const own = task.fds.find((other) => isSame(other, file));
    const found = own && foundIn(own, task);
    if (found && !found.includes(undefined)) return { task: task.ref, found };
  }
  return file.fd < 0 ? knowingOfCarried(file, tree) : undefined;
}

/** As {@link knowing}, of an instance in a message, which only Stasis has a descriptor for. */
function knowingOfCarried(file: OpenFile, tree: SeenTree): ReturnType<typeof knowing> {
  for (const task of tree.tasks) {
    const found = resolveTargets(task.pid, { pid: process.pid, fd: file.local }, targetsOf(file), task.fds);
    if (!found.includes(undefined)) return { task: task.ref, found };
  }
  return undefined;
}

function isSame(a: OpenFile, b: OpenFile): boolean {
  return a.link === b.link && trySyscall('kcmp', process.pid, process.pid, KCMP.FILE, a.local, b.local) === 0;
}

function closedTarget(file: OpenFile, target: EpollTarget): StasisError {
  const reason = `it watches a file that was added as descriptor ${target.tfd} and that the process itself has closed since`;
  return fileObstacle(file, 'EPOLL_CLOSED_TARGET', reason);
}
