/** `--display-stats`: what a dump or a restore took, for people. */
import type { DumpFigures, RestoreFigures } from '../engine/stats.ts';
import { printOut } from './print.ts';

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
    count('Memory pages scanned', figures.pages),
    count('Memory pages skipped from parent', 0),
    count('Memory pages written', figures.pages),
    count('Lazy memory pages', 0),
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

function time(name: string, value: number): string {
  return `${name} time: ${Math.round(value)} us`;
}

function count(name: string, value: number): string {
  return `${name}: ${value} (0x${value.toString(16)})`;
}

function printAll(lines: readonly string[]): void {
  printOut(`${lines.join('\n')}\n`);
}
