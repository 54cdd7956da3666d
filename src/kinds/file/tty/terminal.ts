/** Which terminal a device number means, and the numbers CRIU gives to terminals: pure. */
import { TtyType } from '../../../images/schema/tty.ts';
import { TTY_MAJOR, UNIX98_PTY_MAJOR_COUNT } from '../../../kernel/constants/tty.ts';
import { major, minor } from '../../../kernel/devnum.ts';

/** Master and slave of a pseudoterminal; `current` is /dev/tty, whichever terminal controls the opener. */
export type Role = 'master' | 'slave' | 'console' | 'current' | 'vt' | 'serial' | 'external';

/** Serial lines, as CRIU has them: USB adapters and the on-board ports of small machines. */
const SERIAL_MAJORS: readonly number[] = [188, 204];

/** The role of a character device; `rdev` in user space's form. Undefined if it is no terminal we carry. */
export function roleOf(rdev: number): Role | undefined {
  const high = major(rdev);
  const low = minor(rdev);
  if (high === TTY_MAJOR.CURRENT) return (['current', 'console', 'master'] as const)[low];
  if (high === TTY_MAJOR.VT) return low >= 1 && low <= 63 ? 'vt' : undefined;
  if (SERIAL_MAJORS.includes(high)) return 'serial';
  if (high >= TTY_MAJOR.PTY_MASTER && high < TTY_MAJOR.PTY_MASTER + UNIX98_PTY_MAJOR_COUNT) return 'master';
  if (high >= TTY_MAJOR.PTY_SLAVE && high < TTY_MAJOR.PTY_SLAVE + UNIX98_PTY_MAJOR_COUNT) return 'slave';
  return undefined;
}

/** The `type` of a tty_info_entry. */
export function typeOf(role: Role): (typeof TtyType)[keyof typeof TtyType] {
  switch (role) {
    case 'master':
    case 'slave':
      return TtyType.PTY;
    case 'console':
      return TtyType.CONSOLE;
    case 'current':
      return TtyType.CTTY;
    case 'vt':
      return TtyType.VT;
    case 'serial':
      return TtyType.SERIAL;
    case 'external':
      return TtyType.EXT_TTY;
  }
}

/** The highest pty CRIU's numbering has room for; the numbers of other terminals follow. */
export const MAX_PTY = 1000;

const INDEX = { console: 1002, vt: 1004, current: 1006, serial: 1010, external: 1012 } as const;

/** The most external terminals one dump may have. */
export const MAX_EXTERNAL = 64;

/**
 * The id of a terminal's tty_info_entry: two for each pty, the even one for its slave. `index` is the pty's number, or
 * which external terminal it is, counted from 1.
 */
export function infoId(role: Role, index: number): number {
  if (role === 'master') return index * 2 + 1;
  if (role === 'slave') return index * 2;
  return (INDEX[role] + (role === 'external' ? index : 0)) * 2;
}

/** The key by which users name an external terminal; device numbers in user space's form. */
export function externalKey(rdev: number, dev: number): string {
  return `tty[${rdev.toString(16)}:${dev.toString(16)}]`;
}

/** The note on a master whose slave everybody has closed (stasis-files.jsonl). */
export const SLAVE_CLOSED = 'slave-closed';
