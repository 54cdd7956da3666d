/**
 * What becomes of the pages of a task in a dump: the plan between sources (where contents come from) and sinks (where
 * they go). Pages that are in no list of it hold zeros, or the unchanged content of a mapped file. Pure.
 */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { PageRange, TaskPages } from '../../contract/contract.ts';
import { PageFlags, type PageRun } from '../../images/pagemap.ts';
import { partsBy } from './ranges.ts';

/**
 * Where the content of pages comes from. `own`: the task, by process_vm_readv(2). `hidden`: the task, through
 * /proc/PID/mem. `same`: what is stored for another task, whose page frames they are. `parent`: the image set of the
 * previous dump, so that nothing is stored. `kept`: the task, which whoever wants them asks for later.
 */
export type Origin = 'own' | 'hidden' | 'same' | 'parent' | 'kept';

/** Pages of one origin. */
export interface PlannedRun extends PageRange {
  readonly origin: Origin;
}

/** The plan for a task, ascending. Without `hasOriginal` the pages it shares are read from the task itself. */
export function planPages({ plain, hidden, same, inParent = [] }: TaskPages, hasOriginal: boolean): PlannedRun[] {
  const of = (ranges: readonly PageRange[], origin: Origin): PlannedRun[] =>
    ranges.map(({ start, length }) => ({ start, length, origin }));
  const shared = of(same?.ranges ?? [], hasOriginal ? 'same' : 'hidden');
  const all = [...of(plain, 'own'), ...of(hidden, 'hidden'), ...shared, ...of(inParent, 'parent')];
  return all.sort((a, b) => a.start - b.start);
}

/** A plan in which the task keeps those of its pages that a restore may leave until they are needed. */
export function keepLazy(plan: readonly PlannedRun[], lazy: readonly PageRange[]): PlannedRun[] {
  return plan.flatMap((run) =>
    isStored(run)
      ? [...partsBy(run, lazy)].map(({ start, length, inside }) => ({
          start,
          length,
          origin: inside ? 'kept' : run.origin,
        }))
      : run,
  );
}

/** The plan for a segment, all of whose data is stored. */
export function planSegment(ranges: readonly PageRange[]): PlannedRun[] {
  return ranges.map(({ start, length }) => ({ start, length, origin: 'own' }));
}

/** Appends pages that were read from the task, or lengthens the last run. */
export function addRun(runs: PlannedRun[], start: number, length: number): void {
  const last = runs.at(-1);
  if (last && last.start + last.length === start) runs[runs.length - 1] = { ...last, length: last.length + length };
  else runs.push({ start, length, origin: 'own' });
}

/** Whether pages of this origin are stored in the image set itself. */
export function isStored({ origin }: PlannedRun): boolean {
  return origin !== 'parent' && origin !== 'kept';
}

/** A plan as the runs of a pagemap; `lazy` are the pages that a restore may leave until they are needed. */
export function pagemapRuns(plan: readonly PlannedRun[], lazy: readonly PageRange[] = []): PageRun[] {
  return plan.flatMap((run) => {
    const flags = run.origin === 'kept' ? 0 : isStored(run) ? PageFlags.PRESENT : PageFlags.PARENT;
    return [...partsBy(run, lazy)].map(({ start, length, inside }) => ({
      start,
      pages: length / PAGE_SIZE,
      flags: inside ? flags | PageFlags.LAZY : flags,
    }));
  });
}
