/** Processes that have ended: zombies of the tree, and what their parents were told. */
import type { HostPid } from '../../base/brands.ts';
import { logWarn } from '../../base/log.ts';
import { cstring } from '../../base/text.ts';
import type { CoreEntry } from '../../images/schema/task.ts';
import { PR } from '../../kernel/constants/prctl.ts';
import { SIG, signalBit } from '../../kernel/constants/signals.ts';
import { RLIMIT } from '../../kernel/constants/tasks.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import type { Batch } from '../../tracee/batch.ts';
import { PTRACE, ptrace, setSignalMask, waitStop } from '../../tracee/ptrace.ts';
import type { Seed } from '../../tracee/seed.ts';

/** Has a process end in the way the saved one, `pid`, had ended. */
export function endAs(core: CoreEntry, seed: Seed, batch: Batch, sharesMemory: boolean, pid: number): void {
  const { exit_code: code = 0, comm = '' } = core.tc ?? {};
  const program = batch.reserve(4, 160);
  program.call('prctl', PR.SET_NAME, program.data(cstring(comm)), 0, 0, 0);
  // No core file must be written a second time. With a limit of 1 none is written, not even to a pipe (core(5)).
  program.attempt('setrlimit', RLIMIT.CORE, program.data(new Uint8Array(new BigUint64Array([1n, 1n]).buffer)));
  if (!sharesMemory) program.call('prctl', PR.SET_DUMPABLE, 0, 0, 0, 0);
  const signal = code & 0x7f;
  // Stasis may ignore this signal, and all processes it has made inherit that.
  if (signal !== 0) program.attempt('rt_sigaction', signal, program.space(32), 0, 8);
  batch.flush();
  if (code & 0x80) logWarn('deaths.ts', `task ${pid}: that it had dumped core cannot be told its parent again`);
  if (signal === 0) seed.exit(code >> 8);
  else endBySignal(seed.tracee.pid, signal);
  seed.tracee.awaitEnd();
}

/** Removes a SIGCHLD from the queue of a process. */
export function forgetChildSignal(batch: Batch): void {
  const program = batch.reserve(1, 32);
  const set = program.data(new Uint8Array(new BigUint64Array([signalBit(SIG.CHLD)]).buffer));
  program.attempt('rt_sigtimedwait', set, 0, program.space(16), 8);
  batch.flush();
}

/** Ends a process by a signal, which its tracer delivers. */
function endBySignal(pid: HostPid, signal: number): void {
  setSignalMask(pid, 0n);
  trySyscall('kill', pid, signal);
  if (signal === SIG.KILL) return;
  for (;;) {
    ptrace(PTRACE.CONT, pid);
    const stop = waitStop(pid);
    if (stop.kind === 'exited' || stop.kind === 'killed') return;
    if (stop.kind === 'signal' && stop.signal === signal) break;
  }
  ptrace(PTRACE.CONT, pid, 0, signal);
}
