/**
 * Stasis in PID and mount namespaces of their own: for `restore --new-pidns` in new ones, for `criu-ns dump` in those
 * of the tree. A PID namespace concerns the children of whoever enters it, so Stasis starts itself again. The one
 * inside is the init of new ones, and stays as long as the tree: it waits for orphans, and with it the tree would end.
 */
import { carryOptions } from '../api/engine-options.ts';
import type { Settings } from '../api/settings.ts';
import { type HostPid, hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { decodeText, encodeText } from '../base/text.ts';
import type { HookEvent } from '../engine/hooks.ts';
import type { RestoreOutcome } from '../engine/outcome.ts';
import { O } from '../kernel/constants/files.ts';
import { MS } from '../kernel/constants/mounts.ts';
import { PR } from '../kernel/constants/prctl.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { CLONE } from '../kernel/constants/tasks.ts';
import { TTY_IOCTL } from '../kernel/constants/tty.ts';
import { namesIn, openFile } from '../kernel/files.ts';
import { attachMount, changeMount, mountNew } from '../kernel/mounts.ts';
import { namespaceOf } from '../kernel/namespace.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { childrenOf, threadsOf } from '../kernel/proc/tree.ts';
import { followedStatus } from '../kernel/statx.ts';
import {
  arenaAddress,
  arenaPath,
  arenaView,
  describeErrno,
  ERRNO,
  Fd,
  insist,
  syscall,
  trySyscall,
} from '../kernel/syscall.ts';
import { requireInherited } from '../support/inherited.ts';
import { ownProgram } from '../support/own-program.ts';
import { writePidfile } from '../support/pidfile.ts';
import { SignalForwarding } from '../tracee/forward-signals.ts';
import { decodeStop } from '../tracee/ptrace.ts';
import { Seed } from '../tracee/seed.ts';

/** In the environment of the Stasis inside: what it is to do there first. */
const TASK = 'STASIS_APART';

/** What the one inside says when the tree is restored. */
interface Report {
  /** The PID of the root, as it is inside. */
  readonly root: number;
  /** What `--json` prints, but for the PID. */
  readonly object: unknown;
}

/** How the Stasis inside ends, as an exit code. */
type Ended = number;

/**
 * Restores a tree in new namespaces, and answers the exit code. With `-d` the Stasis inside stays alone. `pidfile` has
 * its whole path.
 */
export function restoreApart(settings: Settings, pidfile: string | undefined): number {
  if (settings.restoreSibling || settings.execCmd) {
    const resource = settings.execCmd ? '--exec-cmd' : '--restore-sibling';
    throw new StasisError({
      kind: 'usage',
      resource,
      reason: 'has no meaning with --new-pidns',
      remedy: 'leave it out',
    });
  }
  if (pidfile !== undefined && followedStatus(pidfile)) {
    const reason = 'there is a file of that name already';
    throw new StasisError({ kind: 'io', resource: pidfile, reason, remedy: 'remove it' });
  }
  requireInherited(carryOptions(settings));
  requireCall('unshare', trySyscall('unshare', CLONE.NEWPID), '--new-pidns');
  syscall('pipe2', arenaAddress, O.CLOEXEC);
  using read = new Fd(arenaView.getInt32(0, true));
  const write = new Fd(arenaView.getInt32(4, true));
  const fds = settings.inheritFd.map(({ fd }) => fd);
  const child = start(ownWords('--new-pidns'), fds, write.number, (number) => `restore ${number}`);
  write[Symbol.dispose]();
  using _ = new SignalForwarding(child);
  const text = readAll(read);
  if (text === '') return awaitEnd(child);
  const report = JSON.parse(text) as Report; // written by this program
  const pid = outerPid(child, report.root);
  if (pidfile !== undefined) writePidfile(pidfile, pid);
  if (settings.json) console.log(JSON.stringify({ ...(report.object as object), pid }));
  return settings.detached ? 0 : awaitEnd(child);
}

/** Dumps a tree from inside of its PID and mount namespaces, where it has the numbers that it knows; as a command. */
export function dumpInside(pid: number, words: readonly string[]): number | undefined {
  if (namespaceOf(hostPid(pid), 'pid') === namespaceOf('self', 'pid')) return undefined;
  const numbers = parseStatus(readProc(hostPid(pid), 'status')).nsPid ?? [];
  using pids = openFile(`/proc/${pid}/ns/pid`, O.RDONLY | O.CLOEXEC);
  using mounts = openFile(`/proc/${pid}/ns/mnt`, O.RDONLY | O.CLOEXEC);
  requireCall('setns', trySyscall('setns', pids.number, CLONE.NEWPID), `PID namespace of process ${pid}`);
  const child = start([...words, '-t', String(numbers.at(-1) ?? pid)], [], mounts.number, (number) => `dump ${number}`);
  using _ = new SignalForwarding(child);
  return awaitEnd(child);
}

function requireCall(call: string, result: number, resource: string): void {
  if (result >= 0) return;
  const reason = `${call} is refused: ${describeErrno(-result)}`;
  throw new StasisError({ kind: 'permission', resource, reason, remedy: 'run Stasis as root (CAP_SYS_ADMIN)' });
}

/** The words that this Stasis was started with, for another one. */
function ownWords(option: string): string[] {
  const words = process.argv.slice(2);
  return words.includes(option) ? words : [...words.slice(0, 1), option, ...words.slice(1)];
}

/**
 * Starts Stasis again, with some descriptors under the numbers they have, and `extra` under the next one. `task` says
 * by that number what it is to do first.
 */
function start(
  words: readonly string[],
  fds: readonly number[],
  extra: number,
  task: (number: number) => string,
): HostPid {
  const number = Math.max(2, ...fds) + 1;
  const stdio = Array.from({ length: number + 1 }, (_, fd) => {
    if (fd < 3) return 'inherit' as const;
    return fd === number ? extra : fds.includes(fd) ? fd : ('ignore' as const);
  });
  const [program, ...first] = ownProgram();
  const child = process.getBuiltinModule('node:child_process').spawn(program, [...first, ...words], {
    stdio,
    env: { ...process.env, STASIS_PROGRAM: 'criu', [TASK]: task(number) },
  });
  child.on('error', () => {});
  child.unref();
  if (child.pid !== undefined) return hostPid(child.pid);
  throw new StasisError({ kind: 'kernel', resource: process.execPath, reason: 'Stasis cannot be started again' });
}

function readAll(fd: Fd): string {
  const bytes: number[] = [];
  const piece = new Uint8Array(4096);
  for (;;) {
    const got = trySyscall('read', fd.number, piece, piece.length);
    if (got === -ERRNO.EINTR) continue;
    if (got <= 0) return decodeText(new Uint8Array(bytes));
    bytes.push(...piece.subarray(0, got));
  }
}

function awaitEnd(child: HostPid): Ended {
  for (;;) {
    const got = trySyscall('wait4', child, arenaAddress, W.ALL, 0);
    if (got === -ERRNO.EINTR) continue;
    if (got !== child) return 1;
    const end = decodeStop(arenaView.getInt32(0, true));
    if (end.kind === 'exited') return end.code;
    if (end.kind === 'killed') return 128 + end.signal;
  }
}

/** The number here of a child of the init of a namespace. */
function outerPid(init: HostPid, inner: number): number {
  const children = childrenOf(init, threadsOf(init));
  return children.find((pid) => parseStatus(readProc(pid, 'status')).nsPid?.at(-1) === inner) ?? inner;
}

/** What the Stasis inside was told to do: `restore` or `dump`, and a descriptor. */
function ownTask(): { readonly what: string; readonly fd: number } | undefined {
  const [what, fd] = (process.env[TASK] ?? '').split(' ');
  delete process.env[TASK]; // not for those we start
  return what ? { what, fd: Number(fd) } : undefined;
}

/** The restore inside of new namespaces, of which it is the init. */
export class RestoreInside {
  readonly #report: Fd;

  private constructor(report: Fd) {
    this.#report = report;
  }

  /** Prepares the namespaces, if this Stasis is to be inside. @throws SyscallError */
  static begin({ shellJob }: Settings): RestoreInside | undefined {
    const task = ownTask();
    if (task?.what !== 'restore') return undefined;
    // Until the tree runs it is to end with whoever has started us.
    syscall('prctl', PR.SET_PDEATHSIG, SIG.KILL, 0, 0, 0);
    syscall('fcntl', task.fd, 2, 1); // F_SETFD, FD_CLOEXEC
    trySyscall('setsid');
    if (shellJob) takeTerminal();
    mountProc();
    return new RestoreInside(new Fd(task.fd));
  }

  /** The settings for the one inside: it stays, and does not know the number of the root outside. */
  settings(settings: Settings): Settings {
    return { ...settings, detached: false, pidfile: undefined, json: false };
  }

  /** From here on the tree lives without whoever has started us. */
  at({ point }: HookEvent): number {
    return point === 'pre-resume' ? trySyscall('prctl', PR.SET_PDEATHSIG, 0, 0, 0, 0) : 0;
  }

  /** Says that the tree is there. */
  tell(outcome: RestoreOutcome, object: unknown): void {
    using report = this.#report;
    const bytes = encodeText(JSON.stringify({ root: outcome.pid, object } satisfies Report));
    for (let at = 0; at < bytes.length; ) at += syscall('write', report.number, bytes.subarray(at), bytes.length - at);
  }
}

/** Has our new session have the terminal of the one we have left: `--shell-job` gives it to the tree. */
function takeTerminal(): void {
  const taken = trySyscall('ioctl', 0, TTY_IOCTL.TIOCSCTTY, 1);
  if (taken < 0) {
    const reason = `standard input is no terminal that could be taken: ${describeErrno(-taken)}`;
    throw new StasisError({ kind: 'usage', resource: '--shell-job', reason, remedy: 'leave out --shell-job' });
  }
}

/** A mount namespace with a /proc that shows our PID namespace. What is mounted outside later appears in it as well. */
function mountProc(): void {
  syscall('unshare', CLONE.NEWNS);
  using root = openFile('/', O.PATH | O.DIRECTORY | O.CLOEXEC);
  changeMount(root.number, { propagation: MS.SLAVE, recursive: true }, 'the mounts of Stasis');
  using proc = mountNew('proc');
  using place = openFile('/proc', O.PATH | O.DIRECTORY | O.CLOEXEC);
  attachMount(proc.number, place.number, '/proc');
}

/** Enters the mount namespace of a tree that is dumped from inside, if this Stasis is to. */
export function dumpFromInside(): void {
  const task = ownTask();
  if (task?.what !== 'dump') return;
  using mounts = new Fd(task.fd);
  const here = process.cwd();
  syscall('unshare', CLONE.FS);
  syscall('setns', mounts.number, CLONE.NEWNS);
  insist('chdir', arenaPath(here));
  leaveOrphan();
}

/**
 * Makes a process that the init of our PID namespace has as its child, and that ends with us. An init that ends with
 * the last of its children, as that of --new-pidns does, would take Stasis along when the tree has ended.
 */
function leaveOrphan(): void {
  using parent = Seed.anywhere();
  const nothing = { vm: false, files: false, fs: false, sighand: false };
  parent.fork([{ pid: freePid(), sibling: false, exitSignal: SIG.CHLD, share: nothing }]);
}

/** A number that nobody has. */
function freePid(): number {
  const taken = new Set(namesIn('/proc').map(Number));
  for (let pid = HIGH_PID; ; pid--) if (!taken.has(pid) && trySyscall('kill', pid, 0) === -ERRNO.ESRCH) return pid;
}

/** The highest PID on every machine. */
const HIGH_PID = 32_767;
