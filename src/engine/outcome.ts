/** What a dump and a restore come to. All times are microseconds. */
import type { Notice } from '../base/notice.ts';

/** The result of a dump. */
export interface DumpOutcome {
  /** 0, or what a hook answered at `post-dump`, such as a script's exit code; the tasks continue in that case. */
  readonly exitCode: number;
  readonly figures: DumpFigures;
  /** What the user has to know. */
  readonly notices: readonly Notice[];
}

/** The result of a restore. */
export interface RestoreOutcome {
  /** The PID of the root. */
  readonly pid: number;
  readonly figures: RestoreFigures;
  /** What the user has to know. */
  readonly notices: readonly Notice[];
}

/** What a dump took. */
export interface DumpFigures {
  /** From the first look until all tasks stood still. */
  freezing: number;
  /** From then until they ended or went on. */
  frozen: number;
  /** Of it, for memory. */
  memory: number;
  /** Pages of 4 KiB that were written, those of shared segments not among them. */
  pages: number;
  /** Pages that the images of the previous dump hold already. */
  pagesInParent: number;
  /** Pages that the tasks have kept, to be given when they are needed. */
  lazyPages: number;
  sharedPages: number;
}

/** What a restore took. */
export interface RestoreFigures {
  /** Until all processes are there. */
  readonly forking: number;
  /** From the first process to the last step. */
  readonly restore: number;
  readonly pages: number;
}
