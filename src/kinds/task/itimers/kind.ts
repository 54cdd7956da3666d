/** The three interval timers of a process (setitimer(2)). */

import type { DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import type { ItimerEntry } from '../../../images/schema/task.ts';
import { ITIMER } from '../../../kernel/constants/tasks.ts';
import { Itimerval } from '../../../kernel/layouts/time.ts';
import type { Program } from '../../../tracee/program.ts';

/** `struct itimerval` as the image has it. */
function fromKernel(bytes: Uint8Array): ItimerEntry {
  const { interval, value } = Itimerval.decode(bytes);
  return { isec: interval.sec, iusec: interval.usec, vsec: value.sec, vusec: value.usec };
}

/**
 * The image's timer in the form of setitimer(2); undefined if it is not armed. A periodic timer without time left has
 * expired, and its signal has not been taken yet, so it continues with a whole interval.
 */
export function toKernel(entry: ItimerEntry): Uint8Array | undefined {
  const interval = { sec: entry.isec, usec: entry.iusec };
  const value = { sec: entry.vsec, usec: entry.vusec };
  const left = value.sec || value.usec ? value : interval;
  return left.sec || left.usec ? Itimerval.encode({ interval, value: left }) : undefined;
}

function capture(task: DumpTask, program: Program): () => void {
  const which = [ITIMER.REAL, ITIMER.VIRTUAL, ITIMER.PROF] as const;
  const places = which.map((timer) => {
    const at = program.space(Itimerval.size);
    program.call('getitimer', timer, at);
    return at;
  });
  return () => {
    const [real, virt, prof] = places.map((at) => fromKernel(program.bytes(at, Itimerval.size)));
    if (real && virt && prof) task.core.tc.timers = { ...task.core.tc.timers, real, virt, prof };
  };
}

function rebuild(task: RestoreTask): void {
  const timers = task.core.tc?.timers;
  if (!timers) return;
  for (const [which, entry] of [timers.real, timers.virt, timers.prof].entries()) {
    const setting = toKernel(entry);
    if (!setting) continue;
    const program = task.batch.reserve(1, Itimerval.size);
    program.call('setitimer', which, program.data(setting), 0);
  }
}

/** Interval timers. They are armed in the last phase. */
export const itimers: TaskKind = { name: 'itimers', capture, rebuild: { last: rebuild } };
