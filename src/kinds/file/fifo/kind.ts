/** FIFOs: pipes with a name. */

import type { LocalFd } from '../../../base/brands.ts';
import type { FileDoors } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import { O, SPLICE_F } from '../../../kernel/constants/files.ts';
import { Fd, trySyscall } from '../../../kernel/syscall.ts';
import { openRegular } from '../../../paths/open-regfile.ts';
import { regularObstacle } from '../../../paths/regfile.ts';
import { captureName, nameEntry, reopen } from '../../../paths/special-file.ts';
import { partOf } from '../../../support/fdinfo.ts';
import { armAsync, setFlagsAndOwner } from '../../../support/fown.ts';
import { captureContent, restoreContent } from '../../../support/pipe-content.ts';
import { canWrite, halfNotice, isHalf } from '../../../support/pipe-ends.ts';
import { makePipe } from '../../../support/pipe-packets.ts';

export const fifoKind: FileDoors = {
  // A FIFO opened with O_PATH is only a name, which the kind of regular files handles.
  obstacle: (file, task) => regularObstacle(file, task.tree),

  /** A FIFO with a name connects again with processes outside. One without a name is made again for the tree alone. */
  notice(file, task) {
    if (file.stat.nlink > 0 || !isHalf(file, task.tree)) return undefined;
    return { task: file.task, resource: file.link, ...halfNotice(canWrite(file.flags), undefined) };
  },

  capture(file, id, context) {
    const pipeId = file.stat.ino;
    captureContent(Images.fifoData, pipeId, file, context);
    return { fifo: { id, pipe_id: pipeId, regf_id: captureName(file, context) } };
  },

  rebuild(entry, context) {
    const fifo = partOf(entry, 'fifo');
    const reg = nameEntry(fifo.regf_id ?? fifo.id, context);
    using name = new Fd(openRegular(reg, context, O.PATH));
    // Opening one end blocks until the other end is open, so both ends are opened here first.
    const kept = isHeld(name.number);
    using both = new Fd(reopen(name.number, O.RDWR));
    using end = new Fd(reopen(name.number, reg.flags));
    if (!kept) restoreContent(Images.fifoData, fifo.pipe_id, both.number, context);
    setFlagsAndOwner(end.number, reg.flags, reg.fown, context);
    return end.release();
  },

  finish(entry, fd, task) {
    const fifo = partOf(entry, 'fifo');
    armAsync(fd, nameEntry(fifo.regf_id ?? fifo.id, task.context).flags, task);
  },
};

/**
 * Whether a FIFO has a writer outside of the tree, which has kept the unread bytes. tee(2) finds that out without
 * reading: for an empty pipe it answers EAGAIN if there is a writer, and 0 if there is none.
 */
function isHeld(name: LocalFd): boolean {
  using reader = new Fd(reopen(name, O.RDONLY | O.NONBLOCK));
  const [read, write] = makePipe();
  using _ = new Fd(read);
  using into = new Fd(write);
  return trySyscall('tee', reader.number, into.number, 1, SPLICE_F.NONBLOCK) !== 0;
}
