/** eventfd(2): a counter with a descriptor. */

import type { FileDoors } from '../../../contract/contract.ts';
import { text } from '../../../images/form.ts';
import { EFD } from '../../../kernel/constants/files.ts';
import { arenaAddress, arenaView, Fd, syscall } from '../../../kernel/syscall.ts';
import { detailOf, partOf } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';

/** The largest initial count: eventfd2(2) takes an unsigned int. Larger counts are written. */
const MAX_INITIAL = 0xffff_ffffn;

/** Carries counter, flags and owner, and in the file notes EFD_SEMAPHORE, which CRIU loses. */
export const eventfdKind: FileDoors = {
  capture(file, id, context) {
    const { count, semaphore } = detailOf(file, 'eventfd');
    if (semaphore) noteFile(context, 'eventfd', id, 'semaphore');
    const flags = imageFlags(file.flags);
    return { efd: { id, flags, fown: captureOwner(file.local, file.flags, context), counter: count } };
  },

  rebuild(entry, context) {
    const { counter, flags, fown } = partOf(entry, 'efd');
    const mode = notedFile(context, 'eventfd', entry.id, text) === 'semaphore' ? EFD.SEMAPHORE : 0;
    const initial = counter <= MAX_INITIAL ? Number(counter) : 0;
    using fd = new Fd(syscall('eventfd2', initial, mode | EFD.CLOEXEC));
    if (counter > MAX_INITIAL) {
      arenaView.setBigUint64(0, counter, true);
      syscall('write', fd.number, arenaAddress, 8);
    }
    setFlagsAndOwner(fd.number, flags, fown, context);
    return fd.release();
  },
};
