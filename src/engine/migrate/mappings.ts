/** Which mappings of a running root the other side may prepare, before it knows the rest of the tree. */
import type { HostPid } from '../../base/brands.ts';
import { namesIn } from '../../kernel/files.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { type ProcVma, parseSmaps } from '../../kernel/proc/smaps.ts';
import { membersOf } from '../../kernel/proc/tree.ts';
import { isAnonymous } from '../../memory/vma.ts';
import type { Prepared } from './messages.ts';

/** Smaller mappings are filled when the tree is restored, in no time. */
const WORTH = 1 << 20;

/** Flags of `VmFlags` that a mapping to be prepared may have: what mmap(2) gives by itself, or madvise(2) later. */
const PLAIN = new Set(['rd', 'wr', 'ex', 'mr', 'mw', 'me', 'ac', 'sd', 'hg', 'nh', 'uw', 'dc', 'mg', 'sr', 'rr']);

/**
 * The large private anonymous mappings of a tree's root; all ranges of addresses that anybody of the tree has; and how
 * high descriptors go.
 */
export function mappingsFor(root: HostPid): { mappings: Prepared[]; taken: Prepared[]; fds: number } {
  const own = parseSmaps(readProc(root, 'smaps'));
  const taken: Prepared[] = [];
  let fds = 0;
  for (const { pid } of membersOf(root)) {
    try {
      for (const vma of parseSmaps(readProc(pid, 'maps'))) taken.push(rangeOf(vma));
      for (const name of namesIn(`/proc/${pid}/fd`)) fds = Math.max(fds, Number(name));
    } catch {
      // It has ended meanwhile.
    }
  }
  return { mappings: own.filter(isWorth).map(rangeOf), taken, fds };
}

function isWorth(vma: ProcVma): boolean {
  if (!isAnonymous(vma) || vma.name.startsWith('[stack') || vma.end - vma.start < WORTH) return false;
  return [...(vma.vmFlags ?? ['??'])].every((flag) => PLAIN.has(flag));
}

function rangeOf({ start, end, prot }: ProcVma): Prepared {
  return { start, length: end - start, prot };
}
