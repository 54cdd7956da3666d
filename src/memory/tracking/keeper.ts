/**
 * The keeper: a small process (about 44 KiB) that holds the userfaultfds of a tree between two dumps, since the kernel
 * forgets what it has noticed when nobody has them open. It sleeps until the root of the tree is gone, and then ends.
 *
 * Its descriptors are its message to the next dump, which takes them by pidfd_getfd(2). The first is a memfd with a
 * record: the dump that began the tracking, and which userfaultfd is of which task. A keeper is never changed: the next
 * dump ends it before it disturbs what it holds, and starts another one when it is finished. So a dump that fails or is
 * killed in between leaves no keeper, and the dump after that knows that it knows nothing.
 */
import { type HostPid, hostPid, type LocalFd, localFd } from '../../base/brands.ts';
import { cstring, encodeText } from '../../base/text.ts';
import type { SeenTree } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { MFD, POLL } from '../../kernel/constants/files.ts';
import { PR } from '../../kernel/constants/prctl.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { tryReadLink } from '../../kernel/files.ts';
import { Pollfd } from '../../kernel/layouts/files.ts';
import { openPidfd, tryBorrow } from '../../kernel/pidfd.ts';
import { readProcIfAny } from '../../kernel/proc/read.ts';
import { parseStatus } from '../../kernel/proc/status.ts';
import { allProcesses, unlessGone } from '../../kernel/proc/tree.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { Batch } from '../../tracee/batch.ts';
import { closeAll, handOver } from '../../tracee/handover.ts';
import { Seed } from '../../tracee/seed.ts';

/** The comm of a keeper, at most 15 bytes. */
const COMM = 'stasis-memory';
/** The name of its first descriptor, of which nobody else makes one. */
const RECORD = 'stasis-tracking';

/** A task whose writes are noticed. The PID and the time of its start (ticks since boot) identify it. */
export interface KeptTask {
  readonly pid: number;
  readonly start: number;
  /** Its PID in the images. */
  readonly saved: number;
  /** Our descriptor of its userfaultfd; in a record that of the keeper. */
  readonly fd: number;
}

/** What a keeper holds. */
export interface KeeperRecord {
  readonly version: 1;
  /** The run ID of the dump that began the tracking. */
  readonly run: string;
  readonly root: number;
  readonly tasks: readonly KeptTask[];
}

/** A keeper that was found. */
export interface Keeper {
  readonly pid: HostPid;
  readonly record: KeeperRecord;
}

/** Starts a keeper; it lives on when Stasis ends. @throws StasisError */
export function startKeeper(run: string, root: HostPid, tasks: readonly KeptTask[]): void {
  const seed = Seed.anywhere();
  let released = false;
  try {
    using record = new Fd(syscall('memfd_create', arenaPath(RECORD), MFD.CLOEXEC));
    using watched = openPidfd(root);
    const batch = new Batch(seed.remote);
    closeAll(seed, batch);
    const locals = [record.number, watched.number, ...tasks.map(({ fd }) => localFd(fd))];
    const [, poll = -1, ...held] = handOver(seed, batch, locals);
    const kept = tasks.map((task, i) => ({ ...task, fd: held[i] ?? -1 }));
    const bytes = encodeText(JSON.stringify({ version: 1, run, root, tasks: kept } satisfies KeeperRecord));
    syscall('write', record.number, bytes, bytes.byteLength);
    // Before it is let go: the next dump may begin at once, and knows it by its name.
    const naming = batch.reserve(3, 32);
    naming.attempt('setsid');
    naming.attempt('chdir', naming.data(cstring('/')));
    naming.attempt('prctl', PR.SET_NAME, naming.data(cstring(COMM)));
    batch.flush();
    const program = seed.remote.program();
    program.attempt('close', seed.socketTarget);
    program.attempt('poll', program.data(Pollfd.encode({ fd: poll, events: POLL.IN })), 1, -1);
    program.attempt('exit_group', 0);
    seed.remote.release(program);
    released = true;
    seed.socket[Symbol.dispose]();
  } finally {
    if (!released) seed[Symbol.dispose]();
  }
}

/** The keepers, where a look at a tree has to know of them. */
const KEEPERS = new Slot((_: SeenTree) => findKeepers());

/** The keepers there are, of our user, by the names of processes. A keeper of another one would be believed nothing. */
export function findKeepers(): Keeper[] {
  return allProcesses().flatMap((pid) => unlessGone(() => keeperOf(pid)) ?? []);
}

function keeperOf(pid: HostPid): Keeper | undefined {
  const comm = readProcIfAny(pid, 'comm');
  if (!comm || Buffer.from(comm).toString('latin1').trimEnd() !== COMM) return undefined;
  const status = parseStatus(readProcIfAny(pid, 'status') ?? new Uint8Array());
  if (status.uid.effective !== syscall('geteuid')) return undefined;
  using pidfd = openPidfd(pid);
  // It has the lowest number, since all descriptors of the seed but its socket were closed before.
  if (tryReadLink(`/proc/${pid}/fd/0`) !== `/memfd:${RECORD} (deleted)`) return undefined;
  const got = tryBorrow(pidfd, 0);
  if (got < 0) return undefined;
  using file = new Fd(got);
  const record = readRecord(file.number);
  return record && { pid, record };
}

function readRecord(file: LocalFd): KeeperRecord | undefined {
  const bytes = new Uint8Array(statusOf(file).size);
  if (trySyscall('pread64', file, bytes, bytes.byteLength, 0) !== bytes.byteLength) return undefined;
  try {
    const value = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<KeeperRecord>;
    return value.version === 1 && Array.isArray(value.tasks) ? (value as KeeperRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** Takes the userfaultfds of a keeper over and ends it. Tasks whose descriptor cannot be had are left out. */
export function takeOver({ pid, record }: Keeper): { task: KeptTask; fd: Fd }[] {
  using pidfd = openPidfd(pid);
  const taken = record.tasks.flatMap((task) => {
    const got = tryBorrow(pidfd, task.fd);
    return got < 0 ? [] : [{ task, fd: new Fd(got) }];
  });
  trySyscall('pidfd_send_signal', pidfd.number, SIG.KILL, 0, 0);
  return taken;
}

/** Whether a keeper holds the userfaultfd of a task: `start` is the time of its start, in ticks since boot. */
export function isKept(tree: SeenTree, pid: HostPid, start: number): boolean {
  return KEEPERS.of(tree).some((keeper) => keeps(keeper, pid, start));
}

/** Whether a keeper is of this task. */
export function keeps({ record }: Keeper, pid: HostPid, start: number): boolean {
  return record.tasks.some((task) => hostPid(task.pid) === pid && task.start === start);
}
