/** pidfd_open(2): a descriptor that stands for a process, or for a thread. */
import { hostPid } from '../../../base/brands.ts';
import type { FileDoors, RestoreContext, SeenTask } from '../../../contract/contract.ts';
import { O, PIDFD } from '../../../kernel/constants/files.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { parseStat } from '../../../kernel/proc/stat.ts';
import { unlessGone } from '../../../kernel/proc/tree.ts';
import { ERRNO, Fd, SyscallError, syscall } from '../../../kernel/syscall.ts';
import { detailOf, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { openFlags, takeDead } from './dead.ts';

/**
 * Carries pidfds of processes of the tree and of dead processes. Processes outside of the tree may not exist at the
 * restore, or their PIDs may be those of others.
 */
export const pidfdKind: FileDoors = {
  obstacle(file, task) {
    const { pid } = detailOf(file, 'pidfd');
    if (pid === -1 || task.tree.tasks.some((other) => isOf(pid, other)) || isZombieIn(pid, task.tree.tasks))
      return undefined;
    const what = file.flags & PIDFD.THREAD ? 'thread' : 'process';
    // fdinfo shows 0 for a process that is not visible in our PID namespace.
    const whose = pid === 0 ? `a ${what} of another PID namespace` : `${what} ${pid}`;
    const reason = `a pidfd of ${whose}, which is not part of the tree, cannot be carried`;
    return fileObstacle(file, 'PIDFD_OUTSIDE', reason, 'dump the processes together, or have the program close it');
  },

  capture(file, id, context) {
    const { pid } = detailOf(file, 'pidfd');
    return {
      pidfd: {
        id,
        // The low 32 bits, as in CRIU; they distinguish pidfds of dead processes.
        ino: file.stat.ino % 2 ** 32,
        flags: imageFlags(file.flags) & ~O.RDWR,
        nspid: pid > 0 ? context.tree.pids.saved(pid) : -1,
        fown: captureOwner(file.local, file.flags, context),
      },
    };
  },

  rebuild(entry, context) {
    const pidfd = partOf(entry, 'pidfd');
    const { nspid, flags, fown } = pidfd;
    const fresh = nspid > 0 ? openLiving(nspid, openFlags(flags), context) : takeDead(pidfd, context);
    using fd = new Fd(fresh);
    setFlagsAndOwner(fd.number, flags, fown, context);
    return fd.release();
  },
};

function openLiving(saved: number, flags: number, context: RestoreContext): number {
  const host = context.hostPid(saved);
  if (host === undefined) throw new SyscallError('pidfd_open', ERRNO.ESRCH, { resource: `PID ${saved}` });
  return syscall('pidfd_open', host, flags);
}

/** Whether a TID belongs to a process. */
function isOf(tid: number, task: SeenTask): boolean {
  return task.threads.some((thread) => thread.tid === tid);
}

/** Whether a process that is not a task of the tree is a zombie child of one. */
function isZombieIn(pid: number, tasks: readonly SeenTask[]): boolean {
  // The process may end at any moment.
  const bytes = unlessGone(() => readProcIfAny(hostPid(pid), 'stat'));
  const parent = bytes && parseStat(bytes).ppid;
  return tasks.some((task) => task.pid === parent);
}
