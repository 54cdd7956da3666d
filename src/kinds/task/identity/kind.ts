/** Attributes of tasks: comm, personality, OOM score, core dump filter, prctl switches, loginuid. */
import type { HostPid } from '../../../base/brands.ts';
import { encodeText } from '../../../base/text.ts';
import type {
  BirthTraits,
  DumpTask,
  DumpThread,
  Json,
  RestoreContext,
  RestoreTask,
  RestoreThread,
  TaskKind,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { MEMBARRIER } from '../../../kernel/constants/memory.ts';
import { PR } from '../../../kernel/constants/prctl.ts';
import { SIG } from '../../../kernel/constants/signals.ts';
import { trySet } from '../../../kernel/files.ts';
import { readProc, readProcIfAny } from '../../../kernel/proc/read.ts';
import { parseCoredumpFilter, parseNumber, parsePersonality } from '../../../kernel/proc/values.ts';
import { arenaPath, describeErrno, Fd, syscall } from '../../../kernel/syscall.ts';
import { allowHugePages } from '../../../memory/huge-pages.ts';
import { handOver } from '../../../tracee/handover.ts';
import type { Program } from '../../../tracee/program.ts';
import {
  askMemorySwitches,
  askSwitches,
  forgetInherited,
  type MemorySwitches,
  type Switches,
  setMemorySwitches,
  setSwitches,
} from './switches.ts';

/** State of a thread that CRIU's image has no fields for. Values that a new process has as well are left out. */
interface SavedThreadIdentity extends Switches {
  readonly personality?: number;
}

/** The same for a process. */
interface SavedIdentity extends MemorySwitches {
  readonly coredumpFilter?: number;
  /** PR_SET_THP_DISABLE's flags, when there are any. */
  readonly thp?: number;
  /** The signal its parent gets when it ends; 0 for none. */
  readonly exitSignal?: number;
}

/** MMF_DUMP_FILTER_DEFAULT. */
const COREDUMP_FILTER = 0x33;
const MEMBARRIER_UNKNOWN = 'this kernel does not tell what it has registered with membarrier(2): that is lost';
/** The loginuid of a process without a login. */
const NO_LOGIN = 0xffff_ffff;
const COMM_SIZE = 16;

function capture(task: DumpTask, program: Program): () => void {
  const { core, mm } = task;
  const outside = captureFiles(task);
  const thp = program.call('prctl', PR.GET_THP_DISABLE, 0, 0, 0, 0);
  const subreaper = program.space(8);
  program.call('prctl', PR.GET_CHILD_SUBREAPER, subreaper, 0, 0, 0);
  const membarrier = program.attempt('membarrier', MEMBARRIER.GET_REGISTRATIONS, 0, 0);
  const switches = askMemorySwitches(program);
  return () => {
    const thpDisabled = program.result(thp);
    mm.thp_disabled = thpDisabled > 0;
    core.tc.child_subreaper = program.view(subreaper, 4).getInt32(0, true) !== 0;
    const registrations = program.result(membarrier);
    if (registrations > 0) core.tc.membarrier_registration_mask = registrations;
    note(task, 'process', { ...outside, ...switches(), ...(thpDisabled > 1 ? { thp: thpDisabled } : {}) });
    if (registrations < 0) task.context.notice({ task: task.ref, reason: MEMBARRIER_UNKNOWN });
  };
}

/** Captures the attributes that /proc shows. */
function captureFiles(task: DumpTask): SavedIdentity {
  const { pid, core } = task;
  core.tc.oom_score_adj = parseNumber(readProc(pid, 'oom_score_adj'), '/proc/PID/oom_score_adj');
  const login = readProcIfAny(pid, 'loginuid');
  if (login) {
    // Read before anything else is, which would come into the same buffer.
    const uid = parseNumber(login, '/proc/PID/loginuid');
    core.tc.loginuid = task.tree.ids.uidThere(uid);
  }
  const filter = coredumpFilterOf(pid);
  const { exitSignal } = task.stat;
  return {
    ...(filter !== undefined && filter !== COREDUMP_FILTER ? { coredumpFilter: filter } : {}),
    ...(exitSignal !== SIG.CHLD ? { exitSignal } : {}),
  };
}

/** The core dump filter; undefined where the kernel has none. */
function coredumpFilterOf(pid: HostPid | 'self'): number | undefined {
  const text = readProcIfAny(pid, 'coredump_filter');
  return text && parseCoredumpFilter(text);
}

function captureThread(thread: DumpThread, program: Program): () => void {
  const personality = parsePersonality(readProc(thread.tid, 'personality'));
  // CRIU reads the kernel's hexadecimal digits as decimal ones, up to the first letter.
  const { tc } = thread.process.core;
  if (thread.tid === thread.process.pid)
    tc.personality = Number.parseInt(personality.toString(16).padStart(8, '0'), 10);
  const switches = askSwitches(program, thread.stat.flags);
  // A thread that has none of its own is restored with its process's: it is told even if it is 0.
  const usual = thread.tid === thread.process.pid ? 0 : parsePersonality(readProc(thread.process.pid, 'personality'));
  return () => note(thread, 'identity', { ...(personality !== usual ? { personality } : {}), ...switches() });
}

function note(thread: DumpThread, name: string, state: SavedIdentity | SavedThreadIdentity): void {
  if (Object.keys(state).length > 0) thread.ownState[name] = state as { [key: string]: Json };
}

function savedIdentityOf(task: Pick<RestoreTask, 'ownState'>): SavedIdentity {
  return (task.ownState.process ?? {}) as SavedIdentity;
}

/** The exit signal, which clone3(2) has to set. */
function born(saved: Pick<RestoreTask, 'ownState'>): Partial<BirthTraits> {
  const { exitSignal } = savedIdentityOf(saved);
  return exitSignal === undefined ? {} : { exitSignal };
}

/**
 * Sets PR_SET_THP_DISABLE before there is memory that could become huge pages. The value is inherited with the address
 * space at fork and kept by execve (mmf_init_legacy_flags() in include/linux/mm_types.h). So a child may differ from
 * its parent, which may have changed it since, and Stasis may have inherited it from the process that started it.
 */
function rebuildFirst(task: RestoreTask): void {
  if (task.shares.vm) return;
  if (!task.origin) forgetInherited(task);
  allowHugePages(task);
}

/**
 * Sets the loginuid. Only the task itself may write it. It writes through a descriptor, since its root directory may
 * have no /proc.
 */
function rebuildLogin(task: RestoreTask): void {
  const saved = task.core.tc?.loginuid;
  if (saved === undefined || saved === NO_LOGIN) return;
  const login = task.context.ids.uidHere(saved);
  const has = readProcIfAny(task.tracee.pid, 'loginuid');
  if (!has || parseNumber(has, '/proc/PID/loginuid') === login) return;
  using file = new Fd(
    syscall('openat', AT.FDCWD, arenaPath(`/proc/${task.tracee.pid}/loginuid`), O.WRONLY | O.CLOEXEC),
  );
  task.batch.flush();
  const [fd = 0] = handOver(task.seed, task.batch, [file.number]);
  const digits = encodeText(String(login));
  const program = task.batch.reserve(2, digits.length);
  const written = program.attempt('write', fd, program.data(digits), digits.length);
  program.call('close', fd);
  task.batch.after((done) => {
    const errno = -done.result(written);
    if (errno <= 0) return;
    const reason = `cannot be set to ${login}: ${describeErrno(errno)}`;
    task.context.notice({ task: task.ref, resource: 'loginuid', reason });
  });
  task.batch.flush();
}

function rebuildState(task: RestoreTask): void {
  rebuildFiles(task);
  const mask = task.core.tc?.membarrier_registration_mask ?? 0;
  for (let bit = 1; bit <= mask; bit <<= 1) if (mask & bit) task.batch.call('membarrier', bit, 0, 0);
}

function rebuildName({ core, batch }: RestoreThread): void {
  const comm = core.thread_core?.comm ?? core.tc?.comm;
  if (comm === undefined) return;
  const name = new Uint8Array(COMM_SIZE);
  name.set(encodeText(comm).subarray(0, COMM_SIZE - 1));
  const program = batch.reserve(1, COMM_SIZE);
  program.call('prctl', PR.SET_NAME, program.data(name), 0, 0, 0);
}

const OWN_SCORE = new Slot((_: RestoreContext) => parseNumber(readProc('self', 'oom_score_adj'), 'oom_score_adj'));
const OWN_FILTER = new Slot((_: RestoreContext) => coredumpFilterOf('self'));

function rebuildFiles(task: RestoreTask): void {
  const score = task.core.tc?.oom_score_adj;
  if (score !== undefined && score !== OWN_SCORE.of(task.context)) writeProc(task, 'oom_score_adj', String(score));
  // Like oom_score_adj, the filter is inherited from the process that started Stasis.
  const ownFilter = OWN_FILTER.of(task.context);
  const filter = savedIdentityOf(task).coredumpFilter ?? COREDUMP_FILTER;
  if (ownFilter !== undefined && filter !== ownFilter) writeProc(task, 'coredump_filter', `0x${filter.toString(16)}`);
}

function writeProc(task: RestoreTask, name: string, text: string): void {
  const result = trySet(`/proc/${task.tracee.pid}/${name}`, text);
  if (result >= 0) return;
  task.context.notice({ task: task.ref, resource: name, reason: `cannot be set to ${text}: ${describeErrno(result)}` });
}

/** Sets the personality, as late as this since some of its bits change how memory is mapped. */
function rebuildBeforeCreds(thread: RestoreThread): void {
  const saved = (thread.ownState.identity ?? {}) as SavedThreadIdentity;
  setSwitches(thread, saved);
  // CRIU saves one personality for all threads.
  const personality = saved.personality ?? Number.parseInt(String(thread.process.core.tc?.personality ?? 0), 16);
  if (personality !== 0) thread.batch.call('personality', personality);
}

function rebuildLast(task: RestoreTask): void {
  if (task.core.tc?.child_subreaper) task.batch.call('prctl', PR.SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/** Identity. In phase `creds` the kind runs before the credentials. */
export const identity: TaskKind = {
  name: 'identity',
  capture,
  born,
  rebuild: {
    birth: rebuildFirst,
    files: rebuildLogin,
    state: rebuildState,
    creds: (task) => setMemorySwitches(task, savedIdentityOf(task)),
    last: rebuildLast,
  },
  thread: { capture: captureThread, rebuild: { state: rebuildName, creds: rebuildBeforeCreds } },
};
