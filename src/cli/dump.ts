/** `dump`: freezes a process tree and writes it into image files. */

import { carryOptions } from '../api/carry.ts';
import { type DumpOptions, dump, requirePid } from '../engine/dump/dump.ts';
import { printDumpFigures } from './figures.ts';
import type { Invocation } from './invocation.ts';
import { requirePrivileges } from './privileges.ts';
import { interruptible } from './signals.ts';
import { openWorkplace } from './workplace.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings } = invocation;
  requirePrivileges(settings.unprivileged);
  const { imagesDir, workDir } = openWorkplace(invocation);
  const pid = requirePid(settings.tree);
  const options: DumpOptions = {
    pid,
    imagesDir,
    workDir,
    finalState: settings.finalState,
    // As with CRIU's alarm: none at all.
    timeout: settings.timeout || Number.POSITIVE_INFINITY,
    freezeCgroup: settings.freezeCgroup,
    actionScripts: settings.actionScript,
    carry: carryOptions(settings),
  };
  const outcome = interruptible(() => dump(options));
  if (outcome.notices.length > 0) (await import('./report.ts')).reportNotices(outcome.notices, 'dump.ts', settings);
  if (settings.displayStats) printDumpFigures(outcome.figures);
  return outcome.exitCode;
}
