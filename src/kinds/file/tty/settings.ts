/** Giving a terminal the settings it had. */
import type { LocalFd } from '../../../base/brands.ts';
import type { TtyInfoEntry } from '../../../images/schema/tty.ts';
import { Termios, Winsize } from '../../../kernel/layouts/tty.ts';
import { ERRNO, SyscallError, syscall } from '../../../kernel/syscall.ts';
import { getStruct, inBackground, setStruct, trySetStruct } from './ioctl.ts';
import { termiosOf, winsizeOf } from './termios.ts';

/** Locks, then settings, which locks would keep from changing, then the size. @throws SyscallError */
export function applySettings(local: LocalFd, info: TtyInfoEntry): void {
  inBackground(() => {
    if (info.termios_locked) lockSettings(local, termiosOf(info.termios_locked));
    if (info.termios) setStruct(local, 'TCSETS', Termios, termiosOf(info.termios));
    if (info.winsize) setStruct(local, 'TIOCSWINSZ', Winsize, winsizeOf(info.winsize));
  });
}

/** Settings only: the terminal is another one now, and has its own size. Answers how to put the old ones back. */
export function adoptSettings(local: LocalFd, info: TtyInfoEntry): () => void {
  const { termios } = info;
  if (!termios) return () => {};
  const before = getStruct(local, 'TCGETS', Termios);
  inBackground(() => setStruct(local, 'TCSETS', Termios, termiosOf(termios)));
  return () => {
    inBackground(() => trySetStruct(local, 'TCSETS', Termios, before));
  };
}

/** Locking takes CAP_SYS_ADMIN in the first user namespace; without it that is fine if nothing is to change. */
function lockSettings(local: LocalFd, wanted: Termios): void {
  const result = trySetStruct(local, 'TIOCSLCKTRMIOS', Termios, wanted);
  if (result === 0) return;
  const same = JSON.stringify(getStruct(local, 'TIOCGLCKTRMIOS', Termios)) === JSON.stringify(wanted);
  if (result !== -ERRNO.EPERM || !same) throw new SyscallError('ioctl', -result, { resource: 'TIOCSLCKTRMIOS' });
}

/** Owner and permissions of a slave's node, which the kernel made anew with the terminal. */
export function applyOwner(local: LocalFd, info: TtyInfoEntry, mode: number | undefined): void {
  if (info.uid !== undefined && info.gid !== undefined) syscall('fchown', local, info.uid, info.gid);
  if (mode !== undefined) syscall('fchmod', local, mode & 0o7777);
}
