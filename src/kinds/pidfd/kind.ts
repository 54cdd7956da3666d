/** pidfd_open(2): a descriptor that stands for a process. */
import { StasisError } from '../../base/errors.ts';
import { FdTypes } from '../../images/schema/files.ts';
import { O, PIDFD } from '../../kernel/constants/files.ts';
import { syscall } from '../../kernel/syscall.ts';
import type { FileKind, OpenFile } from '../contract.ts';
import { describeFile, detailOf, partOf } from '../detail.ts';
import { captureOwner, imageFlags, settle } from '../fown.ts';

/** The process it is about has to be there after a restore: for now that is the task itself. */
export const pidfdKind: FileKind = {
  name: 'pidfd',
  type: FdTypes.PIDFD,

  recognises: (file) => file.link === 'anon_inode:[pidfd]',

  obstacle(file, task) {
    if (file.flags & PIDFD.THREAD) return refusal(file, 'a pidfd of a thread');
    const { pid } = detailOf(file, 'pidfd');
    if (pid === task.pid) return undefined;
    return refusal(file, pid === -1 ? 'a pidfd of a process that is gone' : `a pidfd of process ${pid}`);
  },

  capture(file, id) {
    const { nsPid } = detailOf(file, 'pidfd');
    return {
      pidfd: {
        id,
        // The low half, as CRIU has it; it tells pidfds of dead processes apart.
        ino: file.stat.ino % 2 ** 32,
        flags: imageFlags(file.flags) & ~O.RDWR,
        nspid: nsPid.at(-1) ?? -1,
        fown: captureOwner(file.local, file.flags),
      },
    };
  },

  rebuild(entry) {
    const { nspid, flags, fown } = partOf(entry, 'pidfd');
    if (nspid <= 0) {
      throw new StasisError({
        kind: 'unsupported',
        resource: `file ${entry.id}`,
        reason: 'a pidfd of a process that was gone already when it was dumped',
      });
    }
    const fd = syscall('pidfd_open', nspid, flags & PIDFD.NONBLOCK);
    settle(fd, flags, fown);
    return fd;
  },
};

function refusal(file: OpenFile, what: string): StasisError {
  const resource = describeFile(file);
  return new StasisError({ kind: 'unsupported', task: file.task, resource, reason: `${what} cannot be carried yet` });
}
