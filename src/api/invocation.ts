/** A command line that was understood. */

import type { Command, Settings } from './settings.ts';

/** A whole command line, understood. */
export interface Invocation {
  readonly command: Command;
  readonly settings: Settings;
  /** `--exec-cmd`: the command to run and its arguments; `exec`: the syscall and its arguments; `swrk`: the fd. */
  readonly operands: readonly string[];
  /** Options that were accepted and change nothing here, for the log. */
  readonly notes: readonly string[];
}
