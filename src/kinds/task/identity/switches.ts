/**
 * Values of prctl(2) that CRIU does not carry. They are read one by one, and set where they differ from those of a new
 * process.
 */
import type { RestoreThread } from '../../../contract/contract.ts';
import { PR, PR_MCE_KILL, PR_SPEC, PR_SPEC_STATE } from '../../../kernel/constants/prctl.ts';
import { IOPRIO, PF } from '../../../kernel/constants/tasks.ts';
import { describeErrno } from '../../../kernel/syscall.ts';
import type { Argument, Program } from '../../../tracee/program.ts';

/** The values of an address space that differ from those of a new process. */
export interface MemorySwitches {
  readonly memoryMerge?: number;
  readonly mdwe?: number;
}

/** The values of a thread that differ from those of a new process. */
export interface Switches {
  /** Nanoseconds. */
  readonly timerSlack?: number;
  readonly tsc?: number;
  readonly mceKill?: number;
  readonly ioFlusher?: number;
  /** By PR_SPEC_*: the state, without PR_SPEC_PRCTL. */
  readonly speculation?: { readonly [which: string]: number };
}

/** The values of a new process. */
const NEW = { timerSlack: 50_000, tsc: 1, mceKill: 2 } as const;
/**
 * These bits of the task's flags tell of it. Reading PR_GET_IO_FLUSHER itself would need
 * CAP_SYS_RESOURCE.
 */
const IO_FLUSHER = PF.MEMALLOC_NOIO | PF.LOCAL_THROTTLE;

/** Adds the calls to the program. The returned function gives the values that differ, after the program has run. */
export function askMemorySwitches(program: Program): () => MemorySwitches {
  const merge = program.attempt('prctl', PR.GET_MEMORY_MERGE, 0, 0, 0, 0);
  const mdwe = program.attempt('prctl', PR.GET_MDWE, 0, 0, 0, 0);
  return () => ({
    ...(program.result(merge) > 0 ? { memoryMerge: program.result(merge) } : {}),
    ...(program.result(mdwe) > 0 ? { mdwe: program.result(mdwe) } : {}),
  });
}

/** The same for a thread. `flags` are its PF_*. */
export function askSwitches(program: Program, flags: number): () => Switches {
  const slack = program.attempt('prctl', PR.GET_TIMERSLACK, 0, 0, 0, 0);
  const mce = program.attempt('prctl', PR.MCE_KILL_GET, 0, 0, 0, 0);
  const tscAt = program.space(8);
  const tsc = program.attempt('prctl', PR.GET_TSC, tscAt, 0, 0, 0);
  const speculation = askSpeculation(program);
  return () => {
    const value = (ref: typeof slack): number => program.result(ref);
    const found: { -readonly [K in keyof Switches]: Switches[K] } = {};
    // Real-time tasks have no timer slack, and it cannot be set for them.
    if (value(slack) > 0 && value(slack) !== NEW.timerSlack) found.timerSlack = value(slack);
    if (value(mce) >= 0 && value(mce) !== NEW.mceKill) found.mceKill = value(mce);
    const mode = program.view(tscAt, 4).getInt32(0, true);
    if (value(tsc) === 0 && mode !== NEW.tsc) found.tsc = mode;
    if ((flags & IO_FLUSHER) === IO_FLUSHER) found.ioFlusher = 1;
    const states = speculation();
    if (Object.keys(states).length > 0) found.speculation = states;
    return found;
  };
}

function askSpeculation(program: Program): () => Record<string, number> {
  const asked = Object.values(PR_SPEC).map((which) => ({
    which,
    ref: program.attempt('prctl', PR.GET_SPECULATION_CTRL, which, 0, 0, 0),
  }));
  return () => {
    const states: Record<string, number> = {};
    for (const { which, ref } of asked) {
      const state = program.result(ref);
      const usual = which === PR_SPEC.L1D_FLUSH ? PR_SPEC_STATE.DISABLE : PR_SPEC_STATE.ENABLE;
      const set = state & ~PR_SPEC_STATE.PRCTL;
      if (state > 0 && state & PR_SPEC_STATE.PRCTL && set !== usual) states[which] = set;
    }
    return states;
  };
}

/** Sets saved values. Each one that cannot be set on this machine is reported in a warning. */
export function setSwitches(thread: RestoreThread, found: Switches): void {
  const { timerSlack, tsc, mceKill, ioFlusher, speculation } = found;
  if (timerSlack !== undefined) set(thread, 'timer slack', PR.SET_TIMERSLACK, timerSlack, 0, 0, 0);
  if (tsc !== undefined) set(thread, 'PR_SET_TSC', PR.SET_TSC, tsc, 0, 0, 0);
  if (mceKill !== undefined) set(thread, 'PR_MCE_KILL', PR.MCE_KILL, PR_MCE_KILL.SET, mceKill, 0, 0);
  if (ioFlusher !== undefined) set(thread, 'PR_SET_IO_FLUSHER', PR.SET_IO_FLUSHER, ioFlusher, 0, 0, 0);
  for (const [which, state] of Object.entries(speculation ?? {})) {
    set(thread, `PR_SET_SPECULATION_CTRL ${which}`, PR.SET_SPECULATION_CTRL, Number(which), state, 0, 0);
  }
}

/** The same for an address space. */
export function setMemorySwitches(thread: RestoreThread, { memoryMerge, mdwe }: MemorySwitches): void {
  if (memoryMerge !== undefined) set(thread, 'PR_SET_MEMORY_MERGE', PR.SET_MEMORY_MERGE, memoryMerge, 0, 0, 0);
  if (mdwe !== undefined) set(thread, 'PR_SET_MDWE', PR.SET_MDWE, mdwe, 0, 0, 0);
}

/**
 * Resets values that the root of a tree has inherited from the process that started Stasis, since children inherit them
 * and execve keeps them. Children get the reset values from the root.
 */
export function forgetInherited({ batch }: RestoreThread): void {
  const everyCpu = new Uint8Array(CPU_MASK).fill(0xff);
  const program = batch.reserve(8, CPU_MASK);
  program.attempt('prctl', PR.SET_TIMERSLACK, NEW.timerSlack, 0, 0, 0);
  program.attempt('prctl', PR.SET_TSC, NEW.tsc, 0, 0, 0);
  program.attempt('prctl', PR.MCE_KILL, PR_MCE_KILL.CLEAR, 0, 0, 0);
  program.attempt('prctl', PR.SET_MEMORY_MERGE, 0, 0, 0, 0);
  program.attempt('personality', 0);
  program.attempt('sched_setaffinity', 0, CPU_MASK, program.data(everyCpu));
  program.attempt('ioprio_set', IOPRIO.WHO_PROCESS, 0, 0);
  program.attempt('set_mempolicy', 0, 0, 0); // MPOL_DEFAULT
}

/** Bytes of a CPU mask for 8192 CPUs, the most a kernel is built for. The kernel ignores CPUs that do not exist. */
const CPU_MASK = 1024;

function set(thread: RestoreThread, name: string, ...args: readonly Argument[]): void {
  const result = thread.batch.reserve(1).attempt('prctl', ...args);
  thread.batch.after((program) => {
    const errno = -program.result(result);
    if (errno <= 0) return;
    thread.context.notice({ task: thread.ref, resource: name, reason: `cannot be set here: ${describeErrno(errno)}` });
  });
}
