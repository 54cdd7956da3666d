/** Servers that go to the background: another process does the same command with a socket that is there. */
import { closeLog } from '../api/logfile.ts';
import type { Command, Settings } from '../api/settings.ts';
import { tellStatus } from '../api/status-fd.ts';
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { F, FD_CLOEXEC, O } from '../kernel/constants/files.ts';
import { openFile } from '../kernel/files.ts';
import { Fd, syscall } from '../kernel/syscall.ts';
import { writePidfile } from '../support/pidfile.ts';
import { Workers } from '../support/workers.ts';

/** The operand that goes before the number of a socket that is there already. */
const WITH_SOCKET = 'listening';

/**
 * Has another process do this command with a socket of ours; returns its PID. `directory` is the one in which this
 * command was started: relative paths of its arguments count from there. `more`: another socket, and the option that
 * tells its number.
 */
export function goToBackground(
  socket: Fd,
  directory: string,
  more?: { readonly option: string; readonly socket: LocalFd },
): number {
  closeLog();
  const work = process.cwd();
  process.chdir(directory);
  using workers = new Workers();
  const words = more ? [more.option, `${more.socket}`] : [];
  const sockets = more ? [socket.number, more.socket] : [socket.number];
  const pid = workers.start([...process.argv.slice(2), ...words, WITH_SOCKET, `${socket.number}`], ...sockets);
  process.chdir(work);
  return pid;
}

/**
 * The socket that the process in the foreground has left; undefined if this is the one in the foreground. What that was
 * connected with otherwise is let go.
 *
 * @throws StasisError (usage) for operands that are something else
 */
export function socketOfForeground(command: Command, operands: readonly string[]): Fd | undefined {
  if (operands.length === 0) return undefined;
  const [word, number = '', ...more] = operands;
  if (word !== WITH_SOCKET || !/^\d+$/.test(number) || more.length > 0) {
    throw new StasisError({
      kind: 'usage',
      resource: word,
      reason: `too much for ${command}`,
      remedy: 'options begin with a dash; --help lists them',
    });
  }
  const socket = new Fd(Number(number));
  syscall('fcntl', socket.number, F.SETFD, FD_CLOEXEC);
  using nothing = openFile('/dev/null', O.RDWR);
  for (const standard of [0, 1, 2]) if (standard !== socket.number) syscall('dup3', nothing.number, standard, 0);
  return socket;
}

/** Clients can connect from now on: says so to whoever waits for it. */
export function tellReady({ pidfile, statusFd }: Settings, pid: number): void {
  if (pidfile !== undefined) writePidfile(pidfile, pid);
  tellStatus(statusFd);
}
