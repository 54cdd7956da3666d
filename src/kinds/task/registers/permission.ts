/**
 * Components of the extended state that a process has to ask for (AMX tiles: 11 KiB instead of 3 for each thread). The
 * kernel gives room for them in two steps: the process asks for the permission, and each thread gets the room when it
 * first uses the component. Before that PTRACE_SETREGSET refuses a state with it.
 */
import { StasisError } from '../../../base/errors.ts';
import type { DumpTask, RestoreTask, RestoreThread } from '../../../contract/contract.ts';
import { SIG } from '../../../kernel/constants/signals.ts';
import { forceWrite, openMemory, writeMemory } from '../../../tracee/memory.ts';
import { AREA, type Program } from '../../../tracee/program.ts';
import { PTRACE } from '../../../tracee/ptrace.ts';

/** Adds a call that reads the permissions of the process. The returned function stores them in `task.ownState`. */
export function capturePermission(task: DumpTask, program: Program): () => void {
  const { component, call } = task.tracee.arch.extendedState.permission;
  const at = program.space(8);
  const asked = program.attempt(call.name, call.get, at);
  return () => {
    const granted = program.result(asked) === 0 ? program.view(at, 8).getBigUint64(0, true) : 0n;
    if ((granted >> BigInt(component)) & 1n) task.ownState.xcomp = [component];
  };
}

/** Requests the permission again. */
export function rebuildPermission(task: RestoreTask): void {
  const { component, call, name } = task.tracee.arch.extendedState.permission;
  const saved = task.ownState.xcomp;
  if (!Array.isArray(saved) || !saved.includes(component)) return;
  const asked = task.batch.reserve(1).attempt(call.name, call.request, component);
  task.batch.after((program) => {
    const result = program.result(asked);
    if (result === 0) return;
    throw new StasisError({
      kind: 'conflict',
      code: 'CPU_STATE',
      task: task.ref,
      resource: name,
      reason: `the program may use them, and this processor or kernel does not let it (${result})`,
    });
  });
}

/**
 * Makes the kernel give a task room for what is in `state`, by loading it there. The task is stopped between programs.
 */
export function makeRoom(thread: RestoreThread, state: Uint8Array): void {
  const { tracee, remote } = thread;
  const { permission } = tracee.arch.extendedState;
  if (!permission.isUsed(state)) return;
  // The heap begins at a multiple of 64.
  const stateAt = remote.area + AREA.code + AREA.entries;
  const code = permission.load(stateAt);
  const codeAt = remote.area + AREA.code - code.length;
  using mem = openMemory(thread.tracee.pid);
  forceWrite(mem, codeAt, code);
  writeMemory(thread.tracee.pid, stateAt, state);
  tracee.setRegisters(tracee.arch.jump(tracee.getRegisters(), codeAt));
  tracee.resumeUntil(PTRACE.CONT, (stop) => stop.kind === 'signal' && stop.signal === SIG.TRAP);
}
