/** FIFOs: pipes with a name. */

import type { FileKind } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { O, S_IF } from '../../../kernel/constants/files.ts';
import { Fd } from '../../../kernel/syscall.ts';
import { openRegular } from '../../../paths/open-regfile.ts';
import { regularObstacle } from '../../../paths/regfile.ts';
import { captureName, nameEntry, reopen } from '../../../paths/special-file.ts';
import { partOf } from '../../../support/fdinfo.ts';
import { armAsync, setFlagsAndOwner } from '../../../support/fown.ts';
import { captureContent, restoreContent } from '../../../support/pipe-content.ts';

export const fifoKind: FileKind = {
  name: 'fifo',
  type: FdTypes.FIFO,

  // Opened with O_PATH it is a name and nothing else: a regular file's business.
  recognises: (file) =>
    (file.stat.mode & S_IF.MT) === S_IF.IFO && !file.link.startsWith('pipe:[') && !(file.flags & O.PATH),

  obstacle: (file, task) => regularObstacle(file, task.options),

  capture(file, id, context) {
    const pipeId = file.stat.ino;
    captureContent(Images.fifoData, pipeId, file, context);
    return { fifo: { id, pipe_id: pipeId, regf_id: captureName(file, context) } };
  },

  rebuild(entry, context) {
    const fifo = partOf(entry, 'fifo');
    const reg = nameEntry(fifo.regf_id ?? fifo.id, context);
    using name = new Fd(openRegular(reg, context, O.PATH));
    // Opening one end waits for the other; with both ends open here nothing waits.
    using both = new Fd(reopen(name.number, O.RDWR));
    using end = new Fd(reopen(name.number, reg.flags));
    restoreContent(Images.fifoData, fifo.pipe_id, both.number, context);
    setFlagsAndOwner(end.number, reg.flags, reg.fown);
    return end.release();
  },

  finish(entry, fd, task) {
    const fifo = partOf(entry, 'fifo');
    armAsync(fd, nameEntry(fifo.regf_id ?? fifo.id, task.context).flags, task);
  },
};
