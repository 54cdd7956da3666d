/** `pre-dump`: saves the memory of a process tree that goes on. */

import { hooksOf, preDumpOptions } from '../api/engine-options.ts';
import { dumpObject, printDumpFigures } from '../api/figures.ts';
import type { Invocation } from '../api/invocation.ts';
import { printOut } from '../api/print.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { preDump } from '../engine/pre-dump/pre-dump.ts';
import { located } from './located.ts';
import { terminalProgress } from './progress.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const settings = await located(invocation.settings);
  requirePrivileges(settings.unprivileged);
  const workplace = openWorkplace(invocation);
  using shown = terminalProgress(settings);
  const hooks = hooksOf({ ...settings, actionScript: [] }, workplace, shown);
  const outcome = interruptible(() => preDump(preDumpOptions(settings, workplace), hooks));
  shown[Symbol.dispose]();
  if (outcome.notices.length > 0)
    (await import('../api/report.ts')).reportNotices(outcome.notices, 'pre-dump.ts', settings);
  const made = { ...dumpObject(outcome, { ...settings, finalState: 'running' }, workplace), command: 'pre-dump' };
  if (settings.json) printOut(`${JSON.stringify(made)}\n`);
  else if (settings.displayStats) printDumpFigures(outcome.figures);
  return outcome.exitCode;
}
