/** One system call in another process, which then goes on as if nothing had been. */

import { NR, type SyscallName } from '../arch/syscall-numbers.ts';
import { StasisError } from '../base/errors.ts';
import { cstring } from '../base/text.ts';
import { UndoStack } from '../base/undo.ts';
import { namesIn } from '../kernel/files.ts';
import { requirePageSize } from '../kernel/page-size.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseSmaps } from '../kernel/proc/smaps.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { DeathWatch } from '../tracee/death-watch.ts';
import { Foothold } from '../tracee/foothold.ts';
import type { Program } from '../tracee/program.ts';
import { suspendSeccomp } from '../tracee/seccomp.ts';
import { threadsWithoutExit } from '../tracee/seccomp-exit.ts';
import { Tracee } from '../tracee/tracee.ts';

/** An argument: a value, or a pointer to bytes of ours in the other process. */
export type ExecArgument =
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'string'; readonly text: string }
  /** A zeroed buffer the call may fill; its contents are answered. */
  | { readonly kind: 'buffer'; readonly size: number };

/** What the call answered: a value or -errno, and the buffers as it left them. */
export interface ExecOutcome {
  readonly result: number;
  readonly buffers: readonly Uint8Array[];
}

/** Calls after which the process would not be what it was. */
const REFUSED: ReadonlySet<string> = new Set([
  ...['exit', 'exit_group', 'execve', 'execveat', 'rt_sigreturn', 'restart_syscall'],
  ...['fork', 'vfork', 'clone', 'clone3'],
]);
const LARGEST_BUFFER = 32 * 1024;

/**
 * Runs a system call by name in the process. `patience`: seconds it may take before it is interrupted.
 * @throws StasisError for an unknown or refused call, a process that cannot be traced, a call that does not return
 */
export function execRemote(pid: number, name: string, args: readonly ExecArgument[], patience: number): ExecOutcome {
  const nr = numberOf(name);
  if (args.length > 6) throw usage(name, 'a system call takes six arguments at most');
  requirePageSize();
  using tracee = Tracee.attach(pid, 0);
  tracee.stop(patience * 1000);
  const { tgid, seccomp } = parseStatus(readProc(pid, 'status'));
  if (seccomp) suspendSeccomp(pid);
  const exitless = threadsWithoutExit([{ tracee, seccomp }]);
  using letGo = new UndoStack();
  const others = stopOthers(tgid, pid, patience, letGo);
  using foothold = Foothold.gain(tracee, tgid, parseSmaps(readProc(pid, 'maps')), { others, exitless });
  const program = foothold.remote.program();
  const buffers: { at: number; size: number }[] = [];
  const words = args.map((argument) => place(program, argument, buffers));
  const call = program.attemptNumber(nr, ...words);
  foothold.remote.run(program, patience * 1000);
  return {
    result: program.result(call),
    buffers: buffers.map(({ at, size }) => program.bytes(at, size).slice()),
  };
}

/** The other threads of the process stand still meanwhile: a foothold is in the memory of all of them. */
function stopOthers(tgid: number, tid: number, patience: number, letGo: UndoStack): Tracee[] {
  // One of them may execute a program just now, and wait for those we have to be buried.
  using watch = new DeathWatch();
  const stopped = new Map<number, Tracee>();
  for (let isNew = true; isNew; ) {
    isNew = false;
    for (const other of namesIn(`/proc/${tgid}/task`).map(Number)) {
      if (other === tid || stopped.has(other)) continue;
      watch.add(other);
      const tracee = Tracee.attachIfAlive(other);
      if (!tracee) continue;
      isNew = true;
      letGo.add(() => tracee.detach());
      stopped.set(other, tracee);
      const isStopped = unlessGone(() => {
        tracee.stop(patience * 1000);
        return true;
      });
      if (!isStopped) stopped.delete(other);
    }
  }
  return [...stopped.values()];
}

function numberOf(name: string): number {
  if (!Object.hasOwn(NR, name)) throw usage(name, 'there is no system call of this name');
  if (REFUSED.has(name)) throw usage(name, 'the process could not go on after this call');
  return NR[name as SyscallName];
}

function usage(resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy: 'see stasis exec --help' });
}

function place(program: Program, argument: ExecArgument, buffers: { at: number; size: number }[]): number | bigint {
  switch (argument.kind) {
    case 'number':
      return BigInt.asIntN(64, argument.value);
    case 'string':
      return program.data(cstring(argument.text));
    case 'buffer': {
      if (argument.size > LARGEST_BUFFER)
        throw usage(`@${argument.size}`, `buffers hold ${LARGEST_BUFFER} bytes at most`);
      const at = program.space(argument.size);
      buffers.push({ at, size: argument.size });
      return at;
    }
  }
}
