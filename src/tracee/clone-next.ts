/** Clones of seeds that may not choose their numbers: Stasis sets which numbers the kernel gives next. */
import { type HostPid, hostPid } from '../base/brands.ts';
import { logDebug } from '../base/log.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { CLONE } from '../kernel/constants/tasks.ts';
import { pidInUse } from '../kernel/pid-in-use.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { ERRNO } from '../kernel/syscall.ts';
import { bury } from './bury.ts';
import { addClone, type ClonePlan, type Maker, spawnError } from './clones.ts';
import { hostPidsOf } from './host-pids.ts';
import { withNextPid } from './next-pid.ts';
import { Remote } from './remote.ts';
import { Tracee } from './tracee.ts';

/** How often a number is tried for that others may take. */
const MOST_ATTEMPTS = 200;

/**
 * Makes a clone in PID namespaces in which this seed may choose no numbers, since they do not belong to its user
 * namespace: Stasis sets which numbers the kernel gives next. In our own PID namespace others may be faster; in those
 * of the tree nobody else makes processes meanwhile.
 * @throws StasisError kind 'conflict' when a number is in use
 */
export function cloneNext(maker: Maker, plan: ClonePlan): Tracee {
  const { pid, numbers = [pid] } = plan;
  const { setNext, isApart = false } = maker.kin;
  const inner = isApart ? numbers : numbers.slice(0, -1);
  const outermost = numbers.at(-1) ?? pid;
  for (let attempt = 0; attempt < (isApart ? 1 : MOST_ATTEMPTS); attempt++) {
    const program = maker.remote.program();
    const call = addClone(program, plan, false);
    if (inner.length > 0) setNext?.(plan.namespace, inner);
    const make = (): void => void maker.remote.run(program);
    if (isApart) make();
    else withNextPid(outermost, maker.tracee.pid, make);
    const made = program.result(call);
    if (made < 0) throw spawnError(pid, -made, maker.isApart);
    const [host] = maker.isApart ? hostPidsOf(maker.tracee.pid, [made]) : [hostPid(made)];
    const tracee = Tracee.born(host ?? hostPid(made));
    if (hasNumbers(tracee.pid, numbers)) return tracee;
    logDebug(`process ${pid} has got the number ${tracee.pid}, as another one was faster: tried again`);
    discard(maker, tracee, plan);
  }
  throw isApart ? spawnError(pid, ERRNO.EEXIST, true) : pidInUse(pid);
}

/** Whether a process has these numbers, from its own PID namespace outwards. */
function hasNumbers(pid: HostPid, numbers: readonly number[]): boolean {
  const own = parseStatus(readProc(pid, 'status')).nsPid?.toReversed() ?? [Number(pid)];
  return numbers.every((number, i) => own[i] === number);
}

/** Ends a clone that has got another number than it was to have. */
function discard(maker: Maker, tracee: Tracee, { flags }: ClonePlan): void {
  if ((flags & CLONE.THREAD) !== 0n) {
    const remote = new Remote(tracee, maker.remote.area, tracee.getRegisters(), SIG.TRAP);
    const program = remote.program();
    program.call('exit', 0);
    remote.start(program);
    tracee.awaitEnd();
    return;
  }
  const { ppid } = parseStat(readProc(tracee.pid, 'stat'));
  bury(tracee.pid);
  // Its parent reaps it at once, since its number may be one of the tree's.
  if (ppid === maker.tracee.pid) maker.reap(tracee.pid);
  else maker.reapSibling?.(tracee.pid, ppid);
}
