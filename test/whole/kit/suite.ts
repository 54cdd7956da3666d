/**
 * The table-driven part of the whole-system tests: each victim through each way of being dumped. Its state as /proc
 * tells it is compared before and after, and the victim itself says whether it is what it was.
 */
import { describe, expect, test } from 'bun:test';
import { imageDifferences } from './image-diff.ts';
import { differences, type TaskState } from './state.ts';
import { goOn, type StartOptions, Victim } from './victim.ts';

/** One row of a table of victims. */
export interface Row {
  /** test/victims/NAME.c */
  readonly victim: string;
  readonly args?: readonly string[];
  /** Told in the name of the test. */
  readonly about?: string;
  readonly start?: StartOptions;
  /** Options for every dump, for every restore. */
  readonly dump?: readonly string[];
  readonly restore?: readonly string[];
  /** Sent with the question. */
  readonly signal?: NodeJS.Signals;
  /** Items of the state that may change (see kit/state.ts), e.g. /^fd 3/. */
  readonly ignore?: readonly RegExp[];
  /** What may differ between the images of the first cycle and those of the last (see kit/image-diff.ts). */
  readonly images?: readonly RegExp[];
  /** Only these ways. */
  readonly ways?: readonly Way[];
  /** For a single test, milliseconds (20,000). */
  readonly limitMs?: number;
}

/**
 * `restore`: dump and restore; `running`: dump --leave-running; `cycles`: three times dump and restore, and the images
 * are compared; `again`: dump --leave-running, then dump and restore.
 */
export type Way = 'restore' | 'running' | 'cycles' | 'again';
const WAYS: readonly Way[] = ['restore', 'running', 'cycles'];

/** Declares the tests of a table. */
export function victimSuite(title: string, rows: readonly Row[]): void {
  describe(title, () => {
    for (const row of rows) {
      const name = [row.victim, ...(row.args ?? [])].join(' ');
      for (const way of row.ways ?? WAYS) {
        const title = `${name}${row.about ? ` (${row.about})` : ''}: ${way}`;
        test(title, () => through(row, way), row.limitMs ?? 20_000);
      }
    }
  });
}

async function through(row: Row, way: Way): Promise<void> {
  using victim = await Victim.start(row.victim, row.args, row.start);
  if (victim.skipped) {
    console.log(`skipped, ${row.victim}: ${victim.skipped}`);
    return;
  }
  await goOn();
  const before = await victim.settled();
  const images: string[] = [];
  for (let cycle = 0; cycle < (way === 'cycles' ? 3 : 1); cycle++) {
    if (way === 'running' || way === 'again') await victim.dump(['--leave-running', ...(row.dump ?? [])]);
    if (way === 'again') await goOn();
    if (way !== 'running') await victim.cycle({ dump: row.dump ?? [], restore: row.restore ?? [] });
    images.push(victim.images);
    expect(await lastingDifferences(before, victim, row.ignore)).toEqual([]);
    await goOn();
  }
  const [first = '', ...later] = images;
  for (const last of later.slice(-1)) expect(imageDifferences(first, last, row.images)).toEqual([]);
  await victim.verdict(row.signal ? { signal: row.signal } : {});
}

/** Differences that are still there after a few looks: one look may fall into a signal handler. */
async function lastingDifferences(before: TaskState, victim: Victim, ignore?: readonly RegExp[]): Promise<string[]> {
  for (let look = 0; ; look++) {
    const found = differences(before, victim.state(), ignore);
    if (found.length === 0 || look === 5) return found;
    await goOn(5);
  }
}
