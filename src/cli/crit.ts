/** `crit`: reads, changes and explains image files. */

import { printErr } from './print.ts';

/** Runs crit with its own arguments; returns its exit code. TO BE REPLACED. */
export async function run(_args: readonly string[]): Promise<number> {
  printErr('Error: crit: not built yet\n');
  return 1;
}
