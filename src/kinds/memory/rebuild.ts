/** Rebuilding an address space in a seed: everything out, the vdso to its old place, then mapping by mapping. */
import { StasisError } from '../../base/errors.ts';
import { cstring } from '../../base/text.ts';
import type { PageRun } from '../../images/pagemap.ts';
import type { VmaEntry } from '../../images/schema/memory.ts';
import { O } from '../../kernel/constants/files.ts';
import { MADV, MAP, MLOCK_ONFAULT, PROT } from '../../kernel/constants/memory.ts';
import { PR, PR_SET_MM, PR_SET_VMA_ANON_NAME } from '../../kernel/constants/prctl.ts';
import { closeAll, handOver } from '../../tracee/handover.ts';
import type { RestoreTask } from '../contract.ts';
import { fill, openPages, type StoredPages } from './fill.ts';
import { moveVdso } from './vdso-move.ts';
import { adviceNumbers, VmaStatus } from './vma.ts';

/** A mapping to be made, with plain numbers. */
interface Mapping {
  readonly start: number;
  readonly length: number;
  readonly entry: VmaEntry;
  /** Whether pages are to be written into it, so that it must be writable for a while. */
  readonly filled: boolean;
}

const SPECIAL = VmaStatus.VSYSCALL | VmaStatus.VDSO | VmaStatus.VVAR | VmaStatus.GUARD;

/** Phase `memory`. The task has no descriptors but its socket before and after. */
export function rebuildMemory(task: RestoreTask): void {
  const stored = openPages(task);
  const skipped = moveVdso(task, stored);
  const mappings = plan(task, stored);
  const descriptors = handOverFiles(task, mappings, stored);
  for (const mapping of mappings) map(task, mapping, descriptors);
  fill(task, stored, descriptors.pages, skipped);
  for (const mapping of mappings) finish(task, mapping);
  for (const guard of task.mm.vmas.filter((vma) => vma.status & VmaStatus.GUARD)) {
    task.batch.call('madvise', Number(guard.start), Number(guard.end - guard.start), MADV.GUARD_INSTALL);
  }
  nameAnonymous(task);
  seal(task, mappings);
  closeAll(task.seed, task.batch);
}

function plan(task: RestoreTask, stored: StoredPages): Mapping[] {
  return task.mm.vmas
    .filter((vma) => (vma.status & SPECIAL) === 0)
    .map((saved) => {
      const entry = saved.status & VmaStatus.AIORING ? { ...saved, flags: MAP.PRIVATE | MAP.ANONYMOUS } : saved;
      const start = Number(entry.start);
      const length = Number(entry.end) - start;
      const filled = anyBetween(stored.runs, start, start + length);
      return { start, length, entry, filled };
    });
}

/** Whether one of the runs, which ascend, has pages in a range. */
function anyBetween(runs: readonly PageRun[], start: number, end: number): boolean {
  let low = 0;
  for (let high = runs.length; low < high; ) {
    const middle = (low + high) >> 1;
    const run = runs[middle] as PageRun; // middle < length
    if (run.start + run.pages * 4096 <= start) low = middle + 1;
    else high = middle;
  }
  const first = runs[low];
  return first !== undefined && first.start < end;
}

/** Where the task finds the files it needs meanwhile. */
interface Descriptors {
  readonly files: ReadonlyMap<string, number>;
  readonly exe: number;
  readonly pages: number;
}

function handOverFiles(task: RestoreTask, mappings: readonly Mapping[], stored: StoredPages): Descriptors {
  const wanted = new Map<string, number>();
  for (const { entry } of mappings) {
    if (!isFile(entry)) continue;
    const key = fileKey(entry);
    if (!wanted.has(key)) wanted.set(key, task.context.open(Number(entry.shmid), entry.fdflags ?? O.RDONLY));
  }
  const locals = [...wanted.values(), task.context.open(task.mm.exe_file_id, O.RDONLY), stored.file.number];
  const arrived = handOver(task.seed, task.batch, locals);
  const files = new Map([...wanted.keys()].map((key, i) => [key, arrived[i] ?? -1]));
  const [exe = -1, pages = -1] = arrived.slice(wanted.size);
  return { files, exe, pages };
}

function isFile(entry: VmaEntry): boolean {
  return (entry.status & (VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED)) !== 0;
}

/** A file may be mapped for reading here and for writing there. */
function fileKey(entry: VmaEntry): string {
  return `${entry.shmid}/${entry.fdflags ?? O.RDONLY}`;
}

function map(task: RestoreTask, { start, length, entry, filled }: Mapping, descriptors: Descriptors): void {
  const fd = isFile(entry) ? descriptors.files.get(fileKey(entry)) : -1;
  if (fd === undefined || (fd < 0 && (entry.flags & MAP.ANONYMOUS) === 0)) {
    throw new StasisError({
      kind: 'unsupported',
      task: task.ref,
      resource: `mapping ${start.toString(16)}`,
      reason: `a mapping of this kind (status 0x${entry.status.toString(16)}) is not carried yet`,
    });
  }
  const prot = filled ? entry.prot | PROT.WRITE : entry.prot;
  // Locking waits until the contents are there, so that nothing is read in twice.
  const flags = (entry.flags & ~MAP.LOCKED) | MAP.FIXED_NOREPLACE;
  task.batch.call('mmap', start, length, prot, flags, fd, fd < 0 ? 0 : Number(entry.pgoff));
}

/** What must come after the contents: the final protection, advice, locks. */
function finish(task: RestoreTask, { start, length, entry, filled }: Mapping): void {
  if (filled && (entry.prot & PROT.WRITE) === 0) task.batch.call('mprotect', start, length, entry.prot);
  for (const advice of adviceNumbers(entry.madv ?? 0n)) task.batch.call('madvise', start, length, advice);
  if (entry.flags & MAP.LOCKED) task.batch.call('mlock2', start, length, lockFlags(task, start));
}

/** What extra state there is of this kind, defensively: the file may come from elsewhere. */
function extraOf(task: RestoreTask): MemoryExtra {
  const extra = task.extra.memory;
  const known = extra !== null && typeof extra === 'object' && !Array.isArray(extra);
  const { names, lockedOnFault, sealed } = (known ? extra : {}) as Partial<MemoryExtra>;
  const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
  return { names: names ?? {}, lockedOnFault: list(lockedOnFault), sealed: list(sealed) };
}

interface MemoryExtra {
  readonly names: Record<string, unknown>;
  readonly lockedOnFault: readonly unknown[];
  readonly sealed: readonly unknown[];
}

function lockFlags(task: RestoreTask, start: number): number {
  return extraOf(task).lockedOnFault.includes(start.toString(16)) ? MLOCK_ONFAULT : 0;
}

function nameAnonymous(task: RestoreTask): void {
  const { names } = extraOf(task);
  for (const vma of task.mm.vmas) {
    const name = names[vma.start.toString(16)];
    if (typeof name !== 'string') continue;
    const program = task.batch.reserve(1, 256);
    const length = Number(vma.end - vma.start);
    // Kernels without CONFIG_ANON_VMA_NAME refuse; a name is not worth failing for.
    program.attempt('prctl', PR.SET_VMA, PR_SET_VMA_ANON_NAME, Number(vma.start), length, program.data(cstring(name)));
  }
}

/** Seals what was sealed (6.10), now that nothing of it is to be changed any more. */
function seal(task: RestoreTask, mappings: readonly Mapping[]): void {
  const { sealed } = extraOf(task);
  if (sealed.length === 0) return;
  for (const { start, length } of mappings) {
    if (sealed.includes(start.toString(16))) task.batch.call('mseal', start, length, 0);
  }
}

/** prctl(PR_SET_MM, PR_SET_MM_MAP): the layout /proc shows, the auxiliary vector, the executable. */
function setMap(task: RestoreTask, exe: number): void {
  const { mm } = task;
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
}

export function mapped(task: RestoreTask): void {
  const [exe = -1] = handOver(task.seed, task.batch, [task.context.open(task.mm.exe_file_id, O.RDONLY)]);
  setMap(task, exe);
  closeAll(task.seed, task.batch);
}
