/**
 * How far a long dump or restore is, in one line on the terminal that is written over and over. Nothing is shown in a
 * pipe, with --json, with -v0, or of work that is over within half a second, for which only the clock is read.
 */

import { isTerminal, showTransient } from '../api/print.ts';
import type { Settings } from '../api/settings.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { Hooks, Progress } from '../engine/hooks.ts';

/** Milliseconds until the line appears, and from one to the next. */
const PATIENCE = 500;
const PACE = 100;
const MIB = 1 << 20;

/** The hooks that show the progress; to be disposed of before anything else is printed. */
export function terminalProgress({ json, verbosity }: Settings): Pick<Hooks, 'progress'> & Disposable {
  if (json || verbosity === 0 || !isTerminal(2)) return { [Symbol.dispose]: () => {} };
  const line = new ProgressLine(performance.now());
  return {
    progress: (progress) => {
      const text = line.take(progress, performance.now());
      if (text !== undefined) showTransient(text);
    },
    [Symbol.dispose]: () => showTransient(''),
  };
}

/** What to show, and when. Times are milliseconds of any clock. */
export class ProgressLine {
  #next: number;
  #memorySince: number | undefined;

  /** @param began when the work began */
  constructor(began: number) {
    this.#next = began + PATIENCE;
  }

  /** The line to show now; undefined if the one that is there is to stay. */
  take(progress: Progress, now: number): string | undefined {
    if (progress.step === 'memory') this.#memorySince ??= now;
    if (now < this.#next) return undefined;
    this.#next = now + PACE;
    return this.#textOf(progress, now);
  }

  #textOf(progress: Progress, now: number): string {
    const { step, done, total } = progress;
    if (step !== 'memory') return total > 1 ? `${TITLES[step]}: ${done} of ${total} tasks` : TITLES[step];
    const seconds = (now - (this.#memorySince ?? now)) / 1000;
    const parts = [`${mib(done)} of ${mib(total)} MiB`, `${Math.floor(done / PAGE_SIZE)} pages`];
    if (seconds > 0) {
      const rate = done / seconds;
      parts.push(`${mib(rate)} MiB/s`);
      if (rate > 0) parts.push(`${Math.ceil((total - done) / rate)} s left`);
    }
    return `${TITLES.memory}: ${parts.join(', ')}`;
  }
}

const TITLES: Readonly<Record<Progress['step'], string>> = {
  looking: 'Looking at the tree',
  freezing: 'Freezing the tree',
  asking: 'Asking the tasks',
  memory: 'Memory',
  writing: 'Writing the images',
  reading: 'Reading the images',
  making: 'Making the tasks',
  rebuilding: 'Rebuilding the state of the tasks',
};

/** Bytes in MiB, as text. */
export function mib(bytes: number, digits = 0): string {
  return (bytes / MIB).toFixed(digits);
}
