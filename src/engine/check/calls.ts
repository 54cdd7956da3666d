/** Probes for features that are a system call or an option of one. They are called in Stasis itself, without effect. */

import { AT, MFD, O, SPLICE_F, TFD_IOC_SET_TICKS } from '../../kernel/constants/files.ts';
import { PR, PR_SET_MM, PR_TIMER_CREATE_RESTORE_IDS } from '../../kernel/constants/prctl.ts';
import { CLOCK, CLONE, CLONE_ARGS_SIZE } from '../../kernel/constants/tasks.ts';
import { TTY_IOCTL } from '../../kernel/constants/tty.ts';
import { Iovec } from '../../kernel/layouts/memory.ts';
import { CloneArgs } from '../../kernel/layouts/tasks.ts';
import {
  arena,
  arenaAddress,
  arenaPath,
  arenaView,
  describeErrno,
  ERRNO,
  Fd,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { type Probe, refusal } from './feature.ts';
import { ask, inThrowaway } from './throwaway.ts';

/** Called with a type that does not exist, which only shows whether the kernel has the call. */
export const kcmp: Probe = () => {
  const result = trySyscall('kcmp', process.pid, -1, -1, -1, -1);
  return result === -ERRNO.ENOSYS ? refusal('kcmp', result) : undefined;
};

/** PR_GET_TID_ADDRESS, and PR_SET_MM_MAP, which sets the whole memory layout at once. */
export const prctlBasics: Probe = () =>
  refusal('prctl', trySyscall('prctl', PR.GET_TID_ADDRESS, arenaAddress, 0, 0, 0)) ?? memoryMap();

/** PR_SET_MM_MAP_SIZE only tells how large the struct for PR_SET_MM_MAP is (since 3.18). */
export const memoryMap: Probe = () =>
  refusal('prctl', trySyscall('prctl', PR.SET_MM, PR_SET_MM.MAP_SIZE, arenaAddress, 0, 0));

/** One byte of a page spliced into a pipe. */
export const unalignedVmsplice: Probe = () => {
  syscall('pipe2', arenaAddress, O.CLOEXEC);
  using reader = new Fd(arenaView.getInt32(0, true));
  using writer = new Fd(arenaView.getInt32(4, true));
  Iovec.encodeInto(arena, 0, { base: BigInt(arenaAddress + 33), length: 1n });
  const moved = trySyscall('vmsplice', writer.number, arenaAddress, 1, SPLICE_F.GIFT | SPLICE_F.NONBLOCK);
  return reader.number === moved ? undefined : refusal('vmsplice', moved);
};

/** A locked pseudoterminal cannot be opened (EIO), so nobody else can open the pair before it is unlocked. */
export const terminalLock: Probe = () => {
  const flags = O.RDWR | O.NOCTTY | O.CLOEXEC;
  using master = new Fd(syscall('openat', AT.FDCWD, arenaPath('/dev/ptmx'), flags));
  arenaView.setInt32(0, 1, true);
  syscall('ioctl', master.number, TTY_IOCTL.TIOCSPTLCK, arenaAddress);
  syscall('ioctl', master.number, TTY_IOCTL.TIOCGPTN, arenaAddress);
  const slave = trySyscall('openat', AT.FDCWD, arenaPath(`/dev/pts/${arenaView.getUint32(0, true)}`), flags);
  if (slave >= 0) trySyscall('close', slave);
  if (slave === -ERRNO.EIO) return undefined;
  return slave >= 0 ? 'a locked terminal could be opened' : `opening a locked terminal: ${describeErrno(slave)}`;
};

/** Called with a bad struct: the kernel checks the request number TFD_IOC_SET_TICKS before its argument. */
export const timerfdTicks: Probe = () => {
  using fd = new Fd(syscall('timerfd_create', CLOCK.MONOTONIC, O.CLOEXEC));
  const result = trySyscall('ioctl', fd.number, TFD_IOC_SET_TICKS, 0);
  return result === -ERRNO.EFAULT ? undefined : refusal('ioctl', result);
};

export const timerIds: Probe = () => {
  const result = trySyscall('prctl', PR.TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS.GET, 0, 0, 0);
  return refusal('prctl', result);
};

/** A struct of size 0 is refused by a kernel that knows the call. */
export const openat2: Probe = () => {
  const result = trySyscall('openat2', AT.FDCWD, arenaPath('.'), 0, 0);
  return result === -ERRNO.ENOSYS ? refusal('openat2', result) : undefined;
};

export const hugeMemfd: Probe = () => {
  const fd = trySyscall('memfd_create', arenaPath(''), MFD.HUGETLB | MFD.CLOEXEC);
  if (fd >= 0) trySyscall('close', fd);
  return refusal('memfd_create', fd);
};

export const pidfds: Probe = () => {
  const pidfd = trySyscall('pidfd_open', process.pid, 0);
  if (pidfd < 0) return refusal('pidfd_open', pidfd);
  using held = new Fd(pidfd);
  using original = new Fd(syscall('eventfd2', 1984, O.CLOEXEC));
  const copy = trySyscall('pidfd_getfd', held.number, original.number, 0);
  if (copy < 0) return refusal('pidfd_getfd', copy);
  using borrowed = new Fd(copy);
  syscall('read', borrowed.number, arenaAddress, 8);
  return arenaView.getBigUint64(0, true) === 1984n ? undefined : 'pidfd_getfd gave another file';
};

function cloneArguments(flags: bigint, setTid: bigint, setTidSize: bigint): Uint8Array {
  return CloneArgs.encode({ flags, setTid, setTidSize });
}

/** An address for set_tid with a size of 0 cannot succeed: EINVAL if the kernel knows set_tid, E2BIG if not. */
export const cloneSetTid: Probe = () => {
  const result = trySyscall('clone3', cloneArguments(0n, 0xffff_ffff_ffff_ffffn, 0n), CLONE_ARGS_SIZE.VER1);
  return result === -ERRNO.EINVAL ? undefined : refusal('clone3', result);
};

/**
 * Asks for a sibling (CLONE_PARENT) in a new PID namespace, with a PID outside of it that is in use. The kernel checks
 * the flags first, so EEXIST means that they can be combined. It is tried in a throw-away process, since Stasis itself
 * may be PID 1 of a namespace, which cannot have siblings.
 */
export const cloneParentNewPid: Probe = () =>
  inThrowaway((seed) => {
    const { program, built } = ask(seed, (p) => {
      const pids = p.data(new Uint8Array(new Int32Array([1, seed.tracee.pid]).buffer));
      const args = p.data(cloneArguments(CLONE.PARENT | CLONE.NEWPID, BigInt(pids), 2n));
      return p.attempt('clone3', args, CLONE_ARGS_SIZE.VER1);
    });
    const result = program.result(built);
    return result === -ERRNO.EEXIST ? undefined : refusal('clone3', result);
  });
