/** `dump`: freezes a process tree and writes it into image files. */

import { dumpOptions, hooksOf } from '../api/engine-options.ts';
import { dumpObject, printDumpFigures } from '../api/figures.ts';
import type { Invocation } from '../api/invocation.ts';
import { printOut } from '../api/print.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { dump } from '../engine/dump/dump.ts';
import { located } from './located.ts';
import { terminalProgress } from './progress.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const settings = await located(invocation.settings);
  if (process.env.STASIS_APART) (await import('./apart.ts')).dumpFromInside();
  requirePrivileges(settings.unprivileged);
  const to = settings.to === undefined ? undefined : (await import('./archive-ends.ts')).archiveTarget(settings);
  const workplace = openWorkplace(invocation);
  using shown = terminalProgress(settings);
  const asked = dumpOptions(settings, workplace);
  const keeping = asked.keeping && (await import('../api/keeping.ts')).sayingWhere(asked.keeping, settings);
  const outcome = interruptible(() => dump({ ...asked, to, keeping }, hooksOf(settings, workplace, shown)));
  shown[Symbol.dispose]();
  if (outcome.notices.length > 0)
    (await import('../api/report.ts')).reportNotices(outcome.notices, 'dump.ts', settings);
  if (settings.json) printOut(`${JSON.stringify(dumpObject(outcome, settings, workplace))}\n`);
  else if (settings.displayStats) printDumpFigures(outcome.figures);
  return outcome.exitCode;
}
