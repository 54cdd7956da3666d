/** Threads that were stopped inside a restartable sequence. */
import type { HostPid } from '../../../base/brands.ts';
import { Rseq, RseqCs } from '../../../kernel/layouts/tasks.ts';
import { tryReadMemory, writeMemory } from '../../../tracee/memory.ts';
import { getRseq } from '../../../tracee/ptrace.ts';
import type { Tracee } from '../../../tracee/tracee.ts';

/**
 * Does for a stopped thread what the kernel does for one that is preempted (kernel/rseq.c, `rseq_ip_fixup()`): if it is
 * inside a critical section, it continues at the abort handler, and the section is left. This has to happen before the
 * thread executes anything for Stasis: once the thread is outside of the section, the kernel forgets it, and the thread
 * would later continue in the section without protection. A program cannot tell this from a preemption, so nothing has
 * to be undone.
 */
export function leaveCriticalSection(tracee: Tracee): void {
  const { pid, arch } = tracee;
  const config = getRseq(pid);
  if (!config?.pointer) return;
  const sectionAt = readStruct(pid, config.pointer, Rseq)?.rseqCs;
  const section = sectionAt ? readStruct(pid, sectionAt, RseqCs) : undefined;
  if (!section) return;
  const registers = tracee.getRegisters();
  const inside = arch.pc(registers) - section.startIp;
  // An invalid section is left to the kernel, which kills the program for it.
  if (section.version !== 0 || inside < 0n || inside >= section.postCommitOffset) return;
  tracee.setRegisters(arch.jump(registers, Number(section.abortIp)));
  writeMemory(pid, Number(config.pointer) + Rseq.offsets.rseqCs, new Uint8Array(8));
}

function readStruct<T>(
  pid: HostPid,
  address: bigint,
  layout: { readonly size: number; decode(bytes: Uint8Array): T },
): T | undefined {
  const bytes = new Uint8Array(layout.size);
  return tryReadMemory(pid, Number(address), bytes) === bytes.length ? layout.decode(bytes) : undefined;
}
