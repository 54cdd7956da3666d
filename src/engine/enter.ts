/** Enters a process that runs, to have it make calls; it continues as before. */
import type { LiftedLimit } from '../arch/arch.ts';
import { type HostPid, hostPid } from '../base/brands.ts';
import { UndoStack } from '../base/undo.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseSmaps } from '../kernel/proc/smaps.ts';
import { type ProcStatus, parseStatus } from '../kernel/proc/status.ts';
import { threadsOf, unlessGone } from '../kernel/proc/tree.ts';
import { DeathWatch } from '../tracee/death-watch.ts';
import { Foothold } from '../tracee/foothold.ts';
import { suspendSeccomp } from '../tracee/seccomp.ts';
import { threadsWithoutExit } from '../tracee/seccomp-exit.ts';
import { Tracee } from '../tracee/tracee.ts';
import { onStopped } from './stops.ts';

/** The system call that the stop has interrupted, if it has. */
export type Interrupted = ReturnType<Tracee['arch']['interrupted']>;

/**
 * Stops the process of a thread, and calls `use` with a foothold in that thread. `patience`: seconds that a stop may
 * take. `lift` says which limits are raised meanwhile.
 * @throws StasisError
 * @throws StrandedError if it has to be tried again
 * @throws InterruptedError
 */
export function entering<T>(
  tid: HostPid,
  patience: number,
  lift: (tgid: HostPid, status: ProcStatus) => readonly LiftedLimit[],
  use: (foothold: Foothold, interrupted: Interrupted) => T,
): T {
  using tracee = Tracee.attach(tid, 0);
  tracee.stop(patience * 1000);
  onStopped(tracee);
  // Read before anything of Stasis is in the thread.
  const interrupted = tracee.arch.interrupted(tracee.getRegisters());
  const status = parseStatus(readProc(tid, 'status'));
  const { seccomp } = status;
  const tgid = hostPid(status.tgid);
  const lifted = lift(tgid, status);
  if (seccomp) suspendSeccomp(tid);
  const exitless = threadsWithoutExit([{ tracee, seccomp }]);
  using letGo = new UndoStack();
  const others = stopOthers(tgid, tid, patience, letGo);
  const maps = parseSmaps(readProc(tid, 'maps'));
  using foothold = Foothold.gain(tracee, tgid, maps, { others, exitless, lift: lifted, caught: status.sigCgt });
  return use(foothold, interrupted);
}

/** Stops the other threads of the process meanwhile, since the foothold is in the memory they share. */
function stopOthers(tgid: HostPid, tid: HostPid, patience: number, letGo: UndoStack): Tracee[] {
  // One of them may execute a program just now, and wait for the threads we have attached to be reaped.
  using watch = new DeathWatch();
  const held = new Map<number, Tracee>();
  for (let isNew = true; isNew; ) {
    isNew = false;
    for (const other of threadsOf(tgid)) {
      if (other === tid || held.has(other)) continue;
      watch.add(other);
      const tracee = Tracee.attachIfAlive(other);
      if (!tracee) continue;
      isNew = true;
      letGo.add(() => tracee.detach());
      held.set(other, tracee);
      const isStopped = unlessGone(() => {
        tracee.stop(patience * 1000);
        onStopped(tracee);
        return true;
      });
      if (!isStopped) held.delete(other);
    }
  }
  return [...held.values()];
}
