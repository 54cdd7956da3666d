/** Makes pseudoterminals with the number they had. */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { TTY_IOCTL } from '../kernel/constants/tty.ts';
import { arenaAddress, arenaView, type Fd, trySyscall } from '../kernel/syscall.ts';

/** How many pseudoterminals are opened at most to reach the wanted number. */
const REACH = 32;

/**
 * Masters by number that are made before the open files of terminals are, because a slave is mounted somewhere.
 * Whoever opens the terminal takes its master out.
 */
export const EARLY_MASTERS = new Slot((context: RestoreContext) => {
  const masters = new Map<number, Fd>();
  context.atEnd(() => {
    for (const fd of masters.values()) fd[Symbol.dispose]();
  });
  return masters;
});

/**
 * A master with a certain number. The kernel gives out the lowest free number, so `open` is called, and what it opens
 * is held, until the wanted number comes.
 *
 * @throws StasisError (conflict) if it is in use
 */
export function openPtyNumber(open: () => LocalFd, wanted: number): LocalFd {
  const held: LocalFd[] = [];
  try {
    while (held.length < REACH) {
      const fd = open();
      held.push(fd);
      const index = numberOf(fd);
      if (index === wanted) return held.pop() as LocalFd;
      if (index > wanted || wanted - index >= REACH) break;
    }
  } finally {
    for (const fd of held) trySyscall('close', fd);
  }
  const reason = `terminal number ${wanted} is in use, or too far from the lowest free one`;
  throw new StasisError({ kind: 'conflict', code: 'TERMINAL_TAKEN', resource: `/dev/pts/${wanted}`, reason });
}

/** The number of a master, or -errno. */
function numberOf(master: LocalFd): number {
  const result = trySyscall('ioctl', master, TTY_IOCTL.TIOCGPTN, arenaAddress);
  return result < 0 ? result : arenaView.getInt32(0, true);
}
