/** Where the work area of a tree is. */
import { findGap } from '../../tracee/gap.ts';
import { AREA } from '../../tracee/program.ts';
import type { Plan } from './plan.ts';

/**
 * An address for the work area that is free in every address space of the tree, since forks inherit the work area at
 * the same address.
 */
export function freeArea(tasks: Plan['tasks']): number {
  const taken = new Map<bigint, bigint>();
  for (const { mm } of tasks.values()) {
    for (const { start, end } of mm.vmas) if ((taken.get(start) ?? 0n) < end) taken.set(start, end);
  }
  const ranges = [...taken].map(([start, end]) => ({ start: Number(start), end: Number(end) }));
  return findGap(
    ranges.sort((a, b) => a.start - b.start),
    AREA.length,
  );
}
