/** Converts virtual memory areas (VMAs) from the form of /proc to the form of CRIU's images. Pure. */

import type { InputOf } from '../images/message.ts';
import type { vmaEntry } from '../images/schema/memory.ts';
import { VmaStatus } from '../images/schema/memory.ts';
import { O } from '../kernel/constants/files.ts';
import { MADV, MAP } from '../kernel/constants/memory.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { vmaName } from '../kernel/proc/vmaname.ts';

/** A vma_entry that is being built. */
export type VmaDraft = InputOf<typeof vmaEntry>;

/** The MADV_ number that each of these VmFlags stands for. */
const ADVICE: readonly (readonly [flag: string, advice: number])[] = [
  ['sr', MADV.SEQUENTIAL],
  ['rr', MADV.RANDOM],
  ['dc', MADV.DONTFORK],
  ['mg', MADV.MERGEABLE],
  ['hg', MADV.HUGEPAGE],
  ['nh', MADV.NOHUGEPAGE],
  ['dd', MADV.DONTDUMP],
  ['wf', MADV.WIPEONFORK],
];

/** The advice of a mapping, one bit for each MADV_ number. */
export function adviceOf(flags: ReadonlySet<string>): bigint {
  let bits = 0n;
  for (const [flag, advice] of ADVICE) if (flags.has(flag)) bits |= 1n << BigInt(advice);
  return bits;
}

/** The MADV_ numbers of the bits that {@link adviceOf} returns. */
export function adviceNumbers(bits: bigint): number[] {
  return ADVICE.map(([, advice]) => advice).filter((advice) => (bits >> BigInt(advice)) & 1n);
}

/** The flags for opening a mapped file again: a shared mapping that may become writable needs O_RDWR. */
export function openFlags(vma: ProcVma): number {
  return vma.shared && (vma.vmFlags?.has('mw') ?? (vma.prot & 2) !== 0) ? O.RDWR : O.RDONLY;
}

const NO_FLAGS: ReadonlySet<string> = new Set();

/** The flags of mmap(2) that make such a mapping again. */
export function mapFlagsOf(vma: ProcVma, anonymous: boolean): number {
  const flags = vma.vmFlags ?? NO_FLAGS;
  let bits: number = flags.has('dp') ? MAP.DROPPABLE : vma.shared ? MAP.SHARED : MAP.PRIVATE;
  if (anonymous) bits |= MAP.ANONYMOUS;
  if (flags.has('gd')) bits |= MAP.GROWSDOWN;
  if (flags.has('lo')) bits |= MAP.LOCKED;
  if (flags.has('nr')) bits |= MAP.NORESERVE;
  if (anonymous && flags.has('ht')) bits |= MAP.HUGETLB | (Math.log2(vma.kernelPageSize ?? 0) << MAP.HUGE_SHIFT);
  return bits;
}

/** Whether a name is that of vvar pages; kernels have used several. */
export function isVvar(name: string): boolean {
  return name === '[vvar]' || name === '[vvar_vclock]';
}

/**
 * Whether the mapping has no file that has to be opened again. Private huge pages have an internal file that counts as
 * none. The first System V segment has a file, whose inode number is 0.
 */
export function isAnonymous(vma: ProcVma): boolean {
  return (vma.ino === 0n && !isSysv(vma)) || (!vma.shared && vmaName(vma.name).kind === 'anonHuge');
}

/** Whether it maps System V shared memory. The inode number is the ID of the segment. */
export function isSysv(vma: ProcVma): boolean {
  return vma.shared && vmaName(vma.name).kind === 'sysv';
}

/** The vma_entry for a mapping without a file. */
export function anonymousEntry(vma: ProcVma): VmaDraft {
  const base = {
    start: BigInt(vma.start),
    end: BigInt(vma.end),
    pgoff: 0,
    shmid: 0,
    prot: vma.prot,
    fd: -1,
    ...advice(vma),
  };
  if (vma.name === '[vsyscall]') {
    return { ...base, flags: MAP.PRIVATE | MAP.ANONYMOUS, status: VmaStatus.VSYSCALL | VmaStatus.ANON_PRIVATE };
  }
  let status = VmaStatus.REGULAR | VmaStatus.ANON_PRIVATE;
  if (vma.name === '[heap]') status |= VmaStatus.HEAP;
  if (vma.name === '[vdso]') status |= VmaStatus.VDSO;
  if (isVvar(vma.name)) status |= VmaStatus.VVAR;
  return { ...base, flags: mapFlagsOf(vma, true), status };
}

/**
 * Whether the mapping is the ring of an AIO context: a file that cannot be opened, whose content belongs to the task.
 */
export function isAioRing(vma: ProcVma): boolean {
  return vmaName(vma.name).kind === 'aio';
}

/** The vma_entry for an AIO ring. */
export function aioEntry(vma: ProcVma): VmaDraft {
  return { ...fileEntryOf(vma, 0, O.RDWR, false), status: VmaStatus.AIORING };
}

/** The vma_entry for a mapped file. A segment is a memfd or shared anonymous memory. */
export function fileEntryOf(vma: ProcVma, fileId: number, openFlags: number, isSegment: boolean): VmaDraft {
  const segment = isSegment ? VmaStatus.MEMFD : 0;
  return {
    start: BigInt(vma.start),
    end: BigInt(vma.end),
    pgoff: vma.offset,
    shmid: fileId,
    prot: vma.prot,
    flags: mapFlagsOf(vma, false),
    status: VmaStatus.REGULAR | (vma.shared ? VmaStatus.FILE_SHARED : VmaStatus.FILE_PRIVATE) | segment,
    fd: -1,
    ...advice(vma),
    fdflags: openFlags,
  };
}

/** The vma_entry for the rings of a packet socket. */
export function socketEntryOf(vma: ProcVma, fileId: number): VmaDraft {
  return { ...fileEntryOf(vma, fileId, O.RDWR, false), status: VmaStatus.REGULAR | VmaStatus.SOCKET };
}

/** The vma_entry for System V shared memory. */
export function sysvEntry(vma: ProcVma, openFlags: number): VmaDraft {
  const entry = fileEntryOf(vma, Number(vma.ino), openFlags, false);
  const huge = vma.vmFlags?.has('ht') ? MAP.HUGETLB : 0;
  const status = VmaStatus.REGULAR | VmaStatus.ANON_SHARED | VmaStatus.SYSVIPC;
  return { ...entry, flags: entry.flags | MAP.ANONYMOUS | huge, status };
}

function advice(vma: ProcVma): { madv?: bigint } {
  const madv = adviceOf(vma.vmFlags ?? NO_FLAGS);
  return madv === 0n ? {} : { madv };
}

/** Merges the vvar mappings. The kernel shows several, but images hold one, because CRIU moves them as one. */
export function mergeVvar(entries: readonly VmaDraft[]): VmaDraft[] {
  const out: VmaDraft[] = [];
  for (const entry of entries) {
    const last = out[out.length - 1];
    const both = last && last.status & entry.status & VmaStatus.VVAR;
    if (last && both && Number(last.end) === Number(entry.start)) out[out.length - 1] = { ...last, end: entry.end };
    else out.push(entry);
  }
  return out;
}
