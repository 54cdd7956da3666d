/** `--display-stats`: what a dump or a restore took, for people. */
import type { DumpFigures } from '../engine/stats.ts';
import { printOut } from './print.ts';

/** Prints the figures of a dump on stdout, with the names CRIU gives them. Times come in microseconds. */
export function printDumpFigures(figures: DumpFigures): void {
  const time = (name: string, value: number): string => `${name} time: ${Math.round(value)} us`;
  const count = (name: string, value: number): string => `${name}: ${value} (0x${value.toString(16)})`;
  const lines = [
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
  ];
  printOut(`${lines.join('\n')}\n`);
}

/** Prints the figures of a restore on stdout. */
export function printRestoreFigures(duration: number): void {
  printOut(`Displaying restore stats:\nRestore time: ${Math.round(duration)} us\n`);
}
