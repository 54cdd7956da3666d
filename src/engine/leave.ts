/** Taking the last of ours, the work area, out of a restored task. */
import { StasisError } from '../base/errors.ts';
import { NR } from '../kernel/nr.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseSmaps } from '../kernel/proc/smaps.ts';
import type { RestoreTask } from '../kinds/contract.ts';
import { tryReadMemory } from '../tracee/memory.ts';
import { AREA } from '../tracee/program.ts';
import { PTRACE, ptrace, type Stop } from '../tracee/ptrace.ts';

/**
 * Unmaps the work area through a `syscall` instruction of the task's own, and leaves the task in an interrupt's stop,
 * from which the kernel restarts interrupted calls.
 */
export function leaveSeed(task: RestoreTask): void {
  const { tracee, remote } = task.seed;
  const at = findSyscall(task);
  const base = tracee.getRegisters();
  tracee.setRegisters(tracee.arch.oneCall(base, at, NR.munmap, [remote.area, AREA.length]));
  const inSyscall = (stop: Stop): boolean => stop.kind === 'syscall';
  tracee.resumeUntil(PTRACE.SYSCALL, inSyscall);
  tracee.resumeUntil(PTRACE.SYSCALL, inSyscall);
  const result = tracee.arch.result(tracee.getRegisters());
  if (result !== 0) throw new StasisError({ kind: 'kernel', task: task.ref, reason: `the work area stays: ${result}` });
  ptrace(PTRACE.INTERRUPT, task.pid);
  tracee.resumeUntil(PTRACE.CONT, (stop) => stop.kind === 'event');
}

/** A `syscall` instruction in the task's executable memory: the vdso has one, libc has many. */
function findSyscall(task: RestoreTask): number {
  const { area } = task.seed.remote;
  const wanted = Buffer.from(task.seed.tracee.arch.syscallInstruction);
  const executable = parseSmaps(readProc(task.pid, 'maps')).filter((vma) => (vma.prot & 5) === 5 && vma.start !== area);
  executable.sort((a, b) => Number(b.name === '[vdso]') - Number(a.name === '[vdso]'));
  const chunk = new Uint8Array(64 * 1024);
  for (const vma of executable) {
    for (let at = vma.start; at < vma.end; at += chunk.length - 1) {
      const got = tryReadMemory(task.pid, at, chunk, Math.min(chunk.length, vma.end - at));
      const found = got > 0 ? Buffer.from(chunk.buffer, 0, got).indexOf(wanted) : -1;
      if (found >= 0) return at + found;
      if (got < chunk.length) break;
    }
  }
  throw new StasisError({
    kind: 'unsupported',
    task: task.ref,
    reason: 'the saved address space has no syscall instruction through which the work area could be given back',
  });
}
