/** Stops of children that a process has not been told of yet. waitpid(2) with WUNTRACED reports each stop once. */

import type { DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { P, W } from '../../../kernel/constants/ptrace.ts';
import { Siginfo } from '../../../kernel/layouts/signals.ts';
import type { Program, Ref } from '../../../tracee/program.ts';

function capture(task: DumpTask, program: Program): (() => void) | undefined {
  const { groupStopped: stopped } = task.context;
  if (stopped.size === 0) return undefined;
  const children = task.tree.tasks.filter(({ pid, stat }) => stat.ppid === task.pid && stopped.has(pid));
  const level = (task.status.nsPid?.length ?? 1) - 1;
  const asked = children.map((child): [number, number, Ref] => {
    const pid = task.tree.pids.saved(child.pid);
    // What the task calls it, in a PID namespace of its own.
    const number = child.status.nsPid?.[level] ?? pid;
    const at = program.space(Siginfo.size);
    return [pid, at, program.attempt('waitid', P.PID, number, at, W.STOPPED | W.NOHANG | W.NOWAIT, 0)];
  });
  if (asked.length === 0) return undefined;
  return () => {
    const untold = asked.filter(
      // The PID is 0 if there is nothing to report.
      ([, at, call]) => program.result(call) === 0 && Siginfo.decode(program.bytes(at, Siginfo.size)).pid !== 0,
    );
    task.ownState.stops = untold.map(([pid]) => pid);
  };
}

/**
 * Runs when the children have stopped again. Stops that had been reported before the dump are consumed here with
 * waitid(2).
 */
function rebuild(task: RestoreTask): void {
  const untold = task.ownState.stops;
  if (!Array.isArray(untold)) return; // images of criu do not record this
  const told = task.context.groupStopped.filter(({ pid, ppid }) => ppid === task.pid && !untold.includes(pid));
  for (const { pid } of told) {
    const program = task.batch.reserve(1, Siginfo.size);
    const number = task.context.numberFor(task, pid);
    program.attempt('waitid', P.PID, number, program.space(Siginfo.size), W.STOPPED | W.NOHANG, 0);
  }
}

/** Stops of children. In phase `last` the kind runs before the signals. */
export const stops: TaskKind = { name: 'stops', capture, rebuild: { last: rebuild } };
