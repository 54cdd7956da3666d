/** `--display-stats`: what a dump or a restore took, for people. */
import type { DumpFigures } from '../engine/stats.ts';
import { printOut } from './print.ts';

/** Prints the figures of a dump on stdout. Times come in microseconds. */
export function printDumpFigures(figures: DumpFigures): void {
  const lines = [
    'Displaying dump stats:',
    `Freezing time: ${Math.round(figures.freezing)} us`,
    `Frozen time: ${Math.round(figures.frozen)} us`,
    `Memory dump time: ${Math.round(figures.memory)} us`,
    `Memory pages written: ${figures.pages} (0x${figures.pages.toString(16)})`,
    `Shared memory pages written: ${figures.sharedPages}`,
  ];
  printOut(`${lines.join('\n')}\n`);
}

/** Prints the figures of a restore on stdout. */
export function printRestoreFigures(duration: number): void {
  printOut(`Displaying restore stats:\nRestore time: ${Math.round(duration)} us\n`);
}
