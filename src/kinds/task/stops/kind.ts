/** Of which stops of its children a process has not been told yet: waitpid(2) with WUNTRACED tells of each once. */

import type { DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import type { Program, Ref } from '../../../tracee/program.ts';

const P_PID = 1;
const WNOHANG = 1;
const WSTOPPED = 2;
const WNOWAIT = 0x0100_0000;
/** As much of a siginfo as waitid(2) writes. */
const SIGINFO = 32;
/** si_pid in the siginfo of a child: 0 if there was nothing to tell. */
const SI_PID = 16;

function capture(task: DumpTask, program: Program): (() => void) | undefined {
  const { stopped } = task.context;
  if (stopped.size === 0) return undefined;
  const children = task.tree.tasks.filter(({ pid, stat }) => stat.ppid === task.pid && stopped.has(pid));
  const asked = children.map(({ pid }): [number, number, Ref] => {
    const at = program.space(SIGINFO);
    return [pid, at, program.attempt('waitid', P_PID, pid, at, WSTOPPED | WNOHANG | WNOWAIT, 0)];
  });
  if (asked.length === 0) return undefined;
  return () => {
    const untold = asked.filter(
      ([, at, call]) => program.result(call) === 0 && program.view(at, SIGINFO).getInt32(SI_PID, true) !== 0,
    );
    task.extra.stops = untold.map(([pid]) => pid);
  };
}

/** The children have stopped again by now, and nobody has been told; what was told before is heard here, by nobody. */
function rebuild(task: RestoreTask): void {
  const untold = task.extra.stops;
  if (!Array.isArray(untold)) return; // images of criu do not say
  const told = task.context.stopped.filter(({ pid, ppid }) => ppid === task.pid && !untold.includes(pid));
  for (const { pid } of told) {
    const program = task.batch.reserve(1, SIGINFO);
    program.attempt('waitid', P_PID, pid, program.space(SIGINFO), WSTOPPED | WNOHANG, 0);
  }
}

/** Stops of children. In phase `last` before the signals. */
export const stops: TaskKind = { name: 'stops', capture, rebuild: { last: rebuild } };
