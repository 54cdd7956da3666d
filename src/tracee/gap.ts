/** Finds free address space. */

/** Room kept below a mapping that may be a growing stack (stack_guard_gap is 1 MiB by default). */
const STACK_GUARD = 2 << 20;
/** Lowest address used: far above vm.mmap_min_addr, so that null pointers with an offset still fault. */
const LOWEST = 0x10_0000;

/** The lowest free range of `length` bytes. `taken` must be ascending; addresses are page-aligned. */
export function findGap(taken: readonly { readonly start: number; readonly end: number }[], length: number): number {
  let from = LOWEST;
  for (const { start, end } of taken) {
    if (from + length + STACK_GUARD <= start) return from;
    from = Math.max(from, end);
  }
  return from;
}
