/** What a dump or a restore came to: `--display-stats` for people, `--json` for programs. */

import type { DumpFigures, DumpOutcome, RestoreFigures, RestoreOutcome } from '../engine/outcome.ts';
import type { Directories } from './engine-options.ts';
import { printOut } from './print.ts';
import type { Settings } from './settings.ts';

/** Prints the figures of a dump on stdout, with the names CRIU gives them. Times come in microseconds. */
export function printDumpFigures(figures: DumpFigures): void {
  printAll([
    'Displaying dump stats:',
    time('Freezing', figures.freezing),
    time('Frozen', figures.frozen),
    time('Memory dump', figures.memory),
    // Pages are written as they are read.
    time('Memory write', 0),
    time('IRMAP resolve', 0),
    count('Memory pages scanned', figures.pages + figures.pagesInParent + figures.lazyPages),
    count('Memory pages skipped from parent', figures.pagesInParent),
    count('Memory pages written', figures.pages),
    count('Lazy memory pages', figures.lazyPages),
    count('Shared memory pages written', figures.sharedPages),
  ]);
}

/** Prints the figures of a restore on stdout. */
export function printRestoreFigures(figures: RestoreFigures): void {
  printAll([
    'Displaying restore stats:',
    count('Pages compared', 0),
    count('Pages skipped COW', 0),
    count('Pages restored', figures.pages),
    time('Restore', figures.restore),
    time('Forking', figures.forking),
  ]);
}

/** The outcome of a dump, as `--json` prints it. Times are microseconds. */
export function dumpObject(
  { exitCode, figures }: DumpOutcome,
  { tree, finalState }: Settings,
  { imagesDir }: Directories,
): Record<string, unknown> {
  const { freezing, frozen, memory, pages, pagesInParent, lazyPages, sharedPages } = figures;
  const microseconds = rounded({ freezing, frozen, memory });
  // A post-dump script that failed lets the tasks go on.
  const left = exitCode === 0 ? finalState : 'running';
  return {
    command: 'dump',
    pid: tree,
    imagesDir,
    finalState: left,
    exitCode,
    microseconds,
    pages,
    pagesInParent,
    ...(lazyPages > 0 ? { lazyPages } : {}),
    sharedPages,
  };
}

/** The outcome of a restore, as `--json` prints it. Times are microseconds. */
export function restoreObject({ pid, figures }: RestoreOutcome, { imagesDir }: Directories): Record<string, unknown> {
  const { forking, restore, pages } = figures;
  return { command: 'restore', pid, imagesDir, microseconds: rounded({ forking, restore }), pages };
}

function rounded(times: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(times).map(([name, value]) => [name, Math.round(value)]));
}

function time(name: string, value: number): string {
  return `${name} time: ${Math.round(value)} us`;
}

function count(name: string, value: number): string {
  return `${name}: ${value} (0x${value.toString(16)})`;
}

function printAll(lines: readonly string[]): void {
  printOut(`${lines.join('\n')}\n`);
}
