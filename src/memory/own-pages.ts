/** Which pages of a stopped task belong to it and are stored with it, and how they are read. */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { HostPid } from '../base/brands.ts';
import type { PageRange, TaskPages } from '../contract/contract.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { framesOfOthers } from './frames.ts';
import { addRange, endOf, without } from './plan/ranges.ts';
import { isAioRing, isAnonymous, isVvar } from './vma.ts';

/**
 * Whether the pages of a mapping are stored with the task. Vvar pages and shared memory are not, since they do not
 * belong to the task alone.
 */
export function isStoredWithTask(vma: ProcVma): boolean {
  if (isAioRing(vma)) return true;
  return !vma.shared && !isVvar(vma.name) && vma.name !== '[vsyscall]' && !vma.vmFlags?.has('dp');
}

/**
 * Whether writes to a mapping are noticed. Not so those to the vdso and to rings, which are always stored whole: the
 * kernel writes to them itself.
 */
export function isTracked(vma: ProcVma): boolean {
  return isStoredWithTask(vma) && vma.name !== '[vdso]' && !isAioRing(vma);
}

/**
 * The mappings whose pages a restore may leave until they are needed, as CRIU does: private anonymous memory that is
 * neither locked nor of huge pages. Nor what children do not inherit (MADV_WIPEONFORK, MADV_DONTFORK), since whoever
 * brings pages does not know that. The pages that the stack pointers are in are needed at once: CRIU writes there when
 * it restores.
 */
export function lazyRanges(vmas: readonly ProcVma[], stackPointers: readonly number[]): PageRange[] {
  const ranges: PageRange[] = [];
  for (const vma of vmas) if (mayBeLazy(vma)) addRange(ranges, vma.start, vma.end - vma.start);
  const needed = [...new Set(stackPointers.map((sp) => sp - (sp % PAGE_SIZE)))].sort((a, b) => a - b);
  return without(
    ranges,
    needed.map((start) => ({ start, length: PAGE_SIZE })),
  );
}

function mayBeLazy(vma: ProcVma): boolean {
  if (vma.shared || !isAnonymous(vma) || vma.name === '[vdso]' || vma.name === '[vsyscall]' || isVvar(vma.name))
    return false;
  return !['lo', 'ht', 'dp', 'wf', 'dc'].some((flag) => vma.vmFlags?.has(flag));
}

/** The lists without pages that the previous dump has stored. */
export function withoutParent({ plain, hidden }: ToStore, inParent: readonly PageRange[]): TaskPages {
  return { plain: without(plain, inParent), hidden: without(hidden, inParent), inParent };
}

/** Pages to store, in two lists. */
export interface ToStore {
  readonly plain: readonly PageRange[];
  /** Pages that must be read through /proc/PID/mem instead of process_vm_readv(2). */
  readonly hidden: readonly PageRange[];
}

/**
 * Sorts the pages found into the two lists. Ranges that the task itself may not read are hidden, since
 * process_vm_readv(2) respects the protection. Pages shared copy-on-write are hidden too: since 5.19
 * process_vm_readv(2) copies such a page in the task before it reads it (gup_must_unshare() in mm/internal.h), and the
 * page would not be shared any more. The vdso is stored completely although its pages are the kernel's: if the kernel
 * has changed at the restore, the old image is needed. Without a `pid` nobody cares which pages are shared.
 */
export function toStore(pid: HostPid | undefined, own: readonly PageRange[], vmas: readonly ProcVma[]): ToStore {
  const readable: PageRange[] = [];
  const doubtful: PageRange[] = [];
  const hidden: PageRange[] = [];
  let next = 0;
  for (const vma of vmas) {
    while (next < own.length && endOf(own[next]) <= vma.start) next++;
    if (!isStoredWithTask(vma)) continue;
    // smaps does not count huge pages in the fields for shared pages.
    const alone = vma.rssShared === 0 && !vma.vmFlags?.has('ht');
    const into = (vma.prot & 1) === 0 ? hidden : alone ? readable : doubtful;
    if (vma.name === '[vdso]' || isAioRing(vma)) {
      addRange(readable, vma.start, vma.end - vma.start);
      continue;
    }
    for (let i = next; i < own.length; i++) {
      const range = own[i];
      if (!range || range.start >= vma.end) break;
      const start = Math.max(range.start, vma.start);
      addRange(into, start, Math.min(endOf(range), vma.end) - start);
    }
  }
  const shared = pid === undefined ? [] : framesOfOthers(pid, doubtful);
  return { plain: inOrder(readable, without(doubtful, shared)), hidden: inOrder(hidden, shared) };
}

function inOrder(...lists: readonly PageRange[][]): PageRange[] {
  return lists.flat().sort((a, b) => a.start - b.start);
}
