/** signalfd(2): signals read from a descriptor. */

import type { FileDoors } from '../../../contract/contract.ts';
import { O } from '../../../kernel/constants/files.ts';
import { SIGSET_SIZE } from '../../../kernel/constants/signals.ts';
import { arenaAddress, arenaView, Fd, syscall } from '../../../kernel/syscall.ts';
import { detailOf, partOf } from '../../../support/fdinfo.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';

/** Carries the signal mask. The signals read are those of the reading process, so there is no other state. */
export const signalfdKind: FileDoors = {
  capture(file, id, context) {
    const { sigmask } = detailOf(file, 'signalfd');
    return {
      sgfd: { id, flags: imageFlags(file.flags), fown: captureOwner(file.local, file.flags, context), sigmask },
    };
  },

  rebuild(entry, context) {
    const { sigmask, flags, fown } = partOf(entry, 'sgfd');
    arenaView.setBigUint64(0, sigmask, true);
    using fd = new Fd(syscall('signalfd4', -1, arenaAddress, SIGSET_SIZE, O.CLOEXEC));
    setFlagsAndOwner(fd.number, flags, fown, context);
    return fd.release();
  },
};
