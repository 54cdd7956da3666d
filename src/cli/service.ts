/** `service`: listens at a path, and has each client served by a process of its own. */
import type { Invocation } from '../api/invocation.ts';
import { closeLog, flushLog } from '../api/logfile.ts';
import { requirePrivileges } from '../api/privileges.ts';
import type { Settings } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { StasisError } from '../base/errors.ts';
import { logInfo } from '../base/log.ts';
import { F, FD_CLOEXEC, O } from '../kernel/constants/files.ts';
import { disk } from '../kernel/disk.ts';
import { openFile, writeAll } from '../kernel/files.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { DEFAULT_ADDRESS, listenAt, serveClients } from '../rpc/service.ts';
import { Workers } from '../rpc/worker.ts';
import { writePidfile } from '../support/pidfile.ts';
import { withOutcome } from '../tracee/interruption.ts';

/** The operand that goes before the number of a socket that listens already; for `--daemon`. */
const LISTENING = 'listening';

/** Runs the command; returns its exit code. */
export function run(invocation: Invocation): number {
  const { settings, operands } = invocation;
  requirePrivileges(settings.unprivileged);
  const before = process.cwd();
  openWorkplace(invocation);
  const path = settings.address ?? DEFAULT_ADDRESS;
  const isBackground = operands.length > 0;
  using listener = isBackground ? inherited(operands) : listenAt(path);
  if (settings.detached && !isBackground) {
    tellReady(settings, goToBackground(listener, before));
    return 0;
  }
  if (!isBackground) tellReady(settings, process.pid);
  logInfo(`listening at ${path}`);
  flushLog();
  try {
    return interruptible(() => serveClients(listener));
  } catch (error) {
    throw withOutcome(error, 'no further client is served');
  } finally {
    disk.unlink(path);
  }
}

/** Has another process do this command with the socket that is there; returns its PID. */
function goToBackground(listener: Fd, directory: string): number {
  closeLog();
  const work = process.cwd();
  // Relative paths of its arguments count from where they were given.
  process.chdir(directory);
  using workers = new Workers();
  const pid = workers.start([...process.argv.slice(2), LISTENING, `${listener.number}`], listener.number);
  process.chdir(work);
  return pid;
}

/** The socket that the process in the foreground has left; what that was connected with otherwise is let go. */
function inherited([word, number = '', ...more]: readonly string[]): Fd {
  if (word !== LISTENING || !/^\d+$/.test(number) || more.length > 0) {
    throw new StasisError({
      kind: 'usage',
      resource: word,
      reason: 'too much for service',
      remedy: 'options begin with a dash; --help lists them',
    });
  }
  const listener = new Fd(Number(number));
  syscall('fcntl', listener.number, F.SETFD, FD_CLOEXEC);
  using nothing = openFile('/dev/null', O.RDWR);
  for (const standard of [0, 1, 2]) syscall('dup3', nothing.number, standard, 0);
  return listener;
}

/** Clients can connect from now on: says so to whoever waits for it. */
function tellReady({ pidfile, statusFd }: Settings, pid: number): void {
  if (pidfile !== undefined) writePidfile(pidfile, pid);
  if (statusFd === undefined) return;
  writeAll(statusFd, new Uint8Array(1));
  trySyscall('close', statusFd);
}
