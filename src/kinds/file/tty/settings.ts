/** Restores the settings of terminals. */
import type { LocalFd } from '../../../base/brands.ts';
import type { IdView } from '../../../contract/contract.ts';
import type { TtyInfoEntry } from '../../../images/schema/tty.ts';
import { Termios, Winsize } from '../../../kernel/layouts/tty.ts';
import { ERRNO, SyscallError, syscall } from '../../../kernel/syscall.ts';
import { getStruct, inBackground, setStruct, trySetStruct } from './ioctl.ts';
import { termiosOf, winsizeOf } from './termios.ts';

/** Sets locked settings, then all settings, then the size. @throws SyscallError */
export function applySettings(local: LocalFd, info: TtyInfoEntry): void {
  inBackground(() => {
    if (info.termios_locked) lockSettings(local, termiosOf(info.termios_locked));
    if (info.termios) setStruct(local, 'TCSETS', Termios, termiosOf(info.termios));
    if (info.winsize) setStruct(local, 'TIOCSWINSZ', Winsize, winsizeOf(info.winsize));
  });
}

/**
 * Applies saved settings to another terminal, which keeps its own size. Returns a function that restores the previous
 * settings.
 */
export function adoptSettings(local: LocalFd, info: TtyInfoEntry): () => void {
  const { termios } = info;
  if (!termios) return () => {};
  const before = getStruct(local, 'TCGETS', Termios);
  inBackground(() => setStruct(local, 'TCSETS', Termios, termiosOf(termios)));
  return () => {
    inBackground(() => trySetStruct(local, 'TCSETS', Termios, before));
  };
}

/**
 * Sets the locks. This needs CAP_SYS_ADMIN in the initial user namespace; a refusal is no error if nothing has to
 * change.
 */
function lockSettings(local: LocalFd, wanted: Termios): void {
  const result = trySetStruct(local, 'TIOCSLCKTRMIOS', Termios, wanted);
  if (result === 0) return;
  const same = JSON.stringify(getStruct(local, 'TIOCGLCKTRMIOS', Termios)) === JSON.stringify(wanted);
  if (result !== -ERRNO.EPERM || !same) throw new SyscallError('ioctl', -result, { resource: 'TIOCSLCKTRMIOS' });
}

/** Sets owner and permissions of a slave's device node, which the kernel has made together with the pty. */
export function applyOwner(local: LocalFd, info: TtyInfoEntry, mode: number | undefined, ids: IdView): void {
  const { uid, gid } = info;
  if (uid !== undefined && gid !== undefined) syscall('fchown', local, ids.uidHere(uid), ids.gidHere(gid));
  if (mode !== undefined) syscall('fchmod', local, mode & 0o7777);
}
