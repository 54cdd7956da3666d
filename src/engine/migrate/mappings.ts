/** Which mappings of a running root the other side may prepare, before it knows the rest of the tree. */
import type { HostPid } from '../../base/brands.ts';
import { namesIn } from '../../kernel/files.ts';
import { latin1 } from '../../kernel/proc/common.ts';
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
export class MappingsOf {
  readonly #root: HostPid;
  /** The mappings of the root, and of what they are. */
  #known: { readonly maps: string; readonly mappings: readonly Prepared[] } | undefined;

  constructor(root: HostPid) {
    this.#root = root;
  }

  /** As they are now. @throws StasisError if the root is gone */
  now(): { mappings: readonly Prepared[]; taken: Prepared[]; fds: number } {
    const taken: Prepared[] = [];
    let fds = 0;
    for (const { pid } of membersOf(this.#root)) {
      try {
        for (const vma of parseSmaps(readProc(pid, 'maps'))) taken.push(rangeOf(vma));
        for (const name of namesIn(`/proc/${pid}/fd`)) fds = Math.max(fds, Number(name));
      } catch {
        // It has ended meanwhile.
      }
    }
    return { mappings: this.#mappings(), taken, fds };
  }

  /**
   * Flags of mappings may change although /proc/PID/maps does not. To read them again the kernel would look at each
   * page, and what is prepared in vain is made anew.
   */
  #mappings(): readonly Prepared[] {
    const maps = latin1(readProc(this.#root, 'maps'));
    if (this.#known?.maps !== maps) {
      const mappings = parseSmaps(readProc(this.#root, 'smaps')).filter(isWorth).map(rangeOf);
      this.#known = { maps, mappings };
    }
    return this.#known.mappings;
  }
}

function isWorth(vma: ProcVma): boolean {
  if (!isAnonymous(vma) || vma.name.startsWith('[stack') || vma.end - vma.start < WORTH) return false;
  return [...(vma.vmFlags ?? ['??'])].every((flag) => PLAIN.has(flag));
}

function rangeOf({ start, end, prot }: ProcVma): Prepared {
  return { start, length: end - start, prot };
}
