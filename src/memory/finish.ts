/** Phase `mapped`: finishes the address space. All children are forked, so none inherits the changes made here. */

import { Part } from '../base/part.ts';
import { cstring } from '../base/text.ts';
import type { RestoreTask } from '../contract/contract.ts';
import { VmaStatus } from '../images/schema/memory.ts';
import { O } from '../kernel/constants/files.ts';
import { MADV, MAP, MLOCK_ONFAULT } from '../kernel/constants/memory.ts';
import { PR, PR_SET_MM, PR_SET_VMA_ANON_NAME } from '../kernel/constants/prctl.ts';
import { closeAll, handOver } from '../tracee/handover.ts';
import { assignKeys, claimKeys } from './protection-keys.ts';
import { type Mapping, memoryStateOf, type StandingMapping, spaceOf } from './space.ts';
import { adviceNumbers } from './vma.ts';

const LAZY = new Part(() => require('./lazy/leave.ts') as typeof import('./lazy/leave.ts'));

/** Sets final protections, advice, locks, names, seals, the layout that /proc shows, and the executable. */
export function finishMemory(task: RestoreTask): void {
  const { mappings = [], kernel } = spaceOf(task) ?? {};
  if (kernel?.unwanted) for (const { start, length } of kernel.parts) task.batch.call('munmap', start, length);
  claimKeys(task);
  for (const mapping of mappings) finish(task, mapping);
  assignKeys(task, mappings);
  for (const guard of task.mm.vmas.filter((vma) => vma.status & VmaStatus.GUARD)) {
    task.batch.call('madvise', Number(guard.start), Number(guard.end - guard.start), MADV.GUARD_INSTALL);
  }
  nameAnonymous(task);
  seal(task, mappings);
  setMap(task);
  if (task.context.lazy) LAZY.load().leaveToDelivery(task, task.context.lazy);
}

function finish(task: RestoreTask, mapping: StandingMapping): void {
  const { start, length, entry, prot, locked } = mapping;
  if (prot !== entry.prot) task.batch.call('mprotect', start, length, entry.prot);
  advise(task, mapping);
  if (!locked) lock(task, mapping);
}

/** Gives the kernel the advice (madvise(2)) that a mapping had. */
export function advise(task: RestoreTask, { start, length, entry }: Mapping): void {
  for (const advice of adviceNumbers(entry.madv ?? 0n)) task.batch.call('madvise', start, length, advice);
}

/**
 * Locks a mapping if it is to be locked. Its contents are filled in already; mlock before that would fault in pages
 * twice.
 */
export function lock(task: RestoreTask, mapping: StandingMapping): StandingMapping {
  const { start, length, entry } = mapping;
  if ((entry.flags & MAP.LOCKED) === 0) return mapping;
  const flags = memoryStateOf(task).lockedOnFault.includes(start.toString(16)) ? MLOCK_ONFAULT : 0;
  // On fault first: that marks the mapping, and fails if it must not be locked. The second call changes the mark and
  // faults the pages in, which fails where nothing may be read (PROT_NONE, guard pages), as it had failed at first.
  task.batch.call('mlock2', start, length, MLOCK_ONFAULT);
  if (flags === 0) task.batch.reserve(1).attempt('mlock2', start, length, 0);
  return { ...mapping, locked: true };
}

function nameAnonymous(task: RestoreTask): void {
  const { names } = memoryStateOf(task);
  for (const vma of task.mm.vmas) {
    const name = names[vma.start.toString(16)];
    if (typeof name !== 'string') continue;
    const program = task.batch.reserve(1, 256);
    const length = Number(vma.end - vma.start);
    // Kernels without CONFIG_ANON_VMA_NAME refuse. A missing name is no reason to fail.
    program.attempt('prctl', PR.SET_VMA, PR_SET_VMA_ANON_NAME, Number(vma.start), length, program.data(cstring(name)));
  }
}

/** Seals the mappings that were sealed (mseal(2), since 6.10), since nothing changes them after this. */
function seal(task: RestoreTask, mappings: readonly StandingMapping[]): void {
  const { sealed } = memoryStateOf(task);
  if (sealed.length === 0) return;
  for (const { start, length } of mappings) {
    if (sealed.includes(start.toString(16))) task.batch.call('mseal', start, length, 0);
  }
}

/** prctl(PR_SET_MM, PR_SET_MM_MAP): the layout /proc shows, the auxiliary vector, the executable. */
function setMap(task: RestoreTask): void {
  const { mm } = task;
  const [exe = -1] = handOver(task.seed, task.batch, [task.context.open(mm.exe_file_id, O.RDONLY)]);
  const auxv = new BigUint64Array([...mm.mm_saved_auxv, ...(mm.mm_saved_auxv.length % 2 ? [0n] : [])]);
  const program = task.batch.reserve(1, auxv.byteLength + 160);
  const auxvAt = program.data(new Uint8Array(auxv.buffer));
  const map = new BigUint64Array(13); // struct prctl_mm_map
  map.set([
    ...[mm.mm_start_code, mm.mm_end_code, mm.mm_start_data, mm.mm_end_data, mm.mm_start_brk, mm.mm_brk],
    ...[mm.mm_start_stack, mm.mm_arg_start, mm.mm_arg_end, mm.mm_env_start, mm.mm_env_end, BigInt(auxvAt)],
  ]);
  const tail = new Uint32Array(map.buffer, 96, 2);
  tail[0] = auxv.byteLength;
  tail[1] = exe;
  program.call('prctl', PR.SET_MM, PR_SET_MM.MAP, program.data(new Uint8Array(map.buffer)), map.byteLength, 0);
  closeAll(task.seed, task.batch);
  // Tasks that share the descriptor table expect it to be empty, so the calls have to run now.
  if (!task.isAlone) task.batch.flush();
}
