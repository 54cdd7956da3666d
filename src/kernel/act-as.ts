/** Making objects as another user: some objects of the kernel keep for good who has made them. */
import { PR, SECBIT } from './constants/prctl.ts';
import { arenaAddress, arenaView, syscall, trySyscall } from './syscall.ts';

/** Stands for an ID that does not change. */
const SAME = -1;

/**
 * Does `work` with another effective user and group, and with all capabilities that we have. Only the calling thread
 * changes, since these are the system calls themselves and not those of the C library.
 *
 * @throws SyscallError if we may not do that, and whatever `work` throws
 */
export function actAs<T>(uid: number, gid: number, work: () => T): T {
  const own = { uid: effective('getresuid'), gid: effective('getresgid') };
  if (own.uid === uid && own.gid === gid) return work();
  const bits = syscall('prctl', PR.GET_SECUREBITS, 0, 0, 0, 0);
  const dumpable = syscall('prctl', PR.GET_DUMPABLE, 0, 0, 0, 0);
  // Without this the kernel takes the effective capabilities from a process that ceases to be root.
  syscall('prctl', PR.SET_SECUREBITS, bits | SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  try {
    syscall('setresgid', SAME, gid, SAME);
    syscall('setresuid', SAME, uid, SAME);
    return work();
  } finally {
    syscall('setresuid', SAME, own.uid, SAME);
    syscall('setresgid', SAME, own.gid, SAME);
    syscall('prctl', PR.SET_SECUREBITS, bits, 0, 0, 0);
    // A change of users makes a process undumpable (commit_creds()).
    if (dumpable === 1) trySyscall('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  }
}

function effective(call: 'getresuid' | 'getresgid'): number {
  syscall(call, arenaAddress, arenaAddress + 4, arenaAddress + 8);
  return arenaView.getUint32(4, true);
}
