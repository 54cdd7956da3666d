/** Chains of seccomp filters: their form in `seccomp.img`, and how the threads of a process get theirs. Pure. */

import { ImageError } from '../../../images/error.ts';
import type { InputOf } from '../../../images/message.ts';
import type { SeccompFilter, seccompFilter } from '../../../images/schema/security.ts';
import { BPF_MAXINSNS, BPF_RET_K, SECCOMP_FILTER_FLAG, SECCOMP_RET } from '../../../kernel/constants/seccomp.ts';
import { SockFilter } from '../../../kernel/layouts/seccomp.ts';

/** A filter: instructions of classic BPF, 8 bytes each, and SECCOMP_FILTER_FLAG_*. */
export interface Filter {
  readonly code: Uint8Array;
  readonly flags: number;
}

/** The filters of a thread in the order they were installed in. */
export type Chain = readonly Filter[];

const FILE = 'seccomp.img';
const { TSYNC } = SECCOMP_FILTER_FLAG;

// ------------------------------------------------------------------------------------------------------ the image

/**
 * Builds the entries of the image. The index of a thread is that of the filter it installed first; `prev` of each entry
 * is the index of the filter installed next. So chains with the same end share it, and equal chains are stored once.
 */
export class FilterTable {
  readonly entries: InputOf<typeof seccompFilter>[] = [];
  readonly #known = new Map<string, number>();

  /** Adds a chain, which must not be empty. Returns the index for its thread. */
  add(chain: Chain): number {
    let next: number | undefined;
    for (const filter of chain.toReversed()) next = this.#addFilter(filter, next);
    return next ?? 0;
  }

  #addFilter({ code, flags }: Filter, next: number | undefined): number {
    const key = `${next ?? ''}/${flags}/${Buffer.from(code.buffer, code.byteOffset, code.length).toString('latin1')}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const index = this.entries.push({ filter: code, flags, ...(next === undefined ? {} : { prev: next }) }) - 1;
    this.#known.set(key, index);
    return index;
  }
}

/** The chain that begins with the entry of this index. @throws ImageError */
export function readChain(entries: readonly SeccompFilter[], first: number): Chain {
  const chain: Filter[] = [];
  for (let index: number | undefined = first; index !== undefined; ) {
    const entry: SeccompFilter | undefined = entries[index];
    if (!entry) throw new ImageError({ file: FILE, reason: `there is no filter ${index}, of ${entries.length}` });
    if (chain.length > entries.length) throw new ImageError({ file: FILE, reason: `filter ${index} follows itself` });
    const { length } = entry.filter;
    if (length === 0 || length % SockFilter.size !== 0 || length > BPF_MAXINSNS * SockFilter.size) {
      throw new ImageError({ file: FILE, reason: `filter ${index} has ${length} bytes, which is no program` });
    }
    chain.push({ code: entry.filter, flags: entry.flags ?? 0 });
    index = entry.prev;
  }
  return chain;
}

// ------------------------------------------------------------------------------------------------------- dumping

/**
 * The chains of the threads of a process as the image has them, the main thread first (undefined: no filters). If all
 * threads have the same chain, CRIU stores it for the main thread only, with flags that install it in all threads at
 * once.
 */
export function chainsForImage(chains: readonly (Chain | undefined)[]): (Chain | undefined)[] {
  const [main] = chains;
  if (!main || !chains.every((chain) => chain && isSame(chain, main))) return [...chains];
  const synced = main.map(({ code, flags }) => ({ code, flags: flags | TSYNC }));
  return chains.map((_, i) => (i === 0 ? synced : undefined));
}

/** Whether a filter hands calls over to another process, through a descriptor (SECCOMP_RET_USER_NOTIF). */
export function asksSupervisor({ code }: Filter): boolean {
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  const { size, offsets } = SockFilter;
  for (let at = 0; at < code.length; at += size) {
    if (view.getUint16(at, true) !== BPF_RET_K) continue;
    const action = (view.getUint32(at + offsets.k, true) & SECCOMP_RET.ACTION_FULL) >>> 0;
    if (action === SECCOMP_RET.USER_NOTIF) return true;
  }
  return false;
}

// ----------------------------------------------------------------------------------------------------- restoring

/**
 * The filters that the main thread installs in all threads at once, and those that each thread then installs for
 * itself.
 */
export interface Installation {
  readonly shared: Chain;
  /** In the order of the threads. */
  readonly own: readonly Chain[];
}

/**
 * Plans the installation of the chains of a process, the main thread's first. With SECCOMP_FILTER_FLAG_TSYNC the kernel
 * gives the filters of a thread to the others, but only if their own filters are an identical (not merely equal)
 * beginning of its chain. So the common beginning of all chains is installed once for all threads.
 */
export function planInstallation(chains: readonly Chain[]): Installation {
  const [main = [], ...others] = chains;
  const synced = main.findLastIndex(({ flags }) => flags & TSYNC) + 1;
  // Filters that the image has for the main thread only are not in the chains of the others.
  if (synced > 0) return { shared: main.slice(0, synced), own: [main.slice(synced), ...others] };
  if (others.length === 0) return { shared: [], own: chains };
  let common = main.length;
  for (const chain of others) common = commonLength(main, chain, common);
  return { shared: main.slice(0, common), own: chains.map((chain) => chain.slice(common)) };
}

function isSame(a: Chain, b: Chain): boolean {
  return a.length === b.length && commonLength(a, b, a.length) === a.length;
}

/** The length of the common beginning of two chains, at most `most`. */
function commonLength(a: Chain, b: Chain, most: number): number {
  for (let i = 0; i < most; i++) {
    const [x, y] = [a[i], b[i]];
    if (!x || !y || x.flags !== y.flags || Buffer.compare(x.code, y.code) !== 0) return i;
  }
  return most;
}
