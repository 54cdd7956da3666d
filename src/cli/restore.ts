/** `restore`: brings a process tree back from its image files. */

import { carryOptions } from '../api/carry.ts';
import { type RestoreOptions, restore } from '../engine/restore/restore.ts';
import { printRestoreFigures } from './figures.ts';
import { followTree } from './follow.ts';
import type { Invocation } from './invocation.ts';
import { requirePrivileges } from './privileges.ts';
import { interruptible } from './signals.ts';
import { openWorkplace } from './workplace.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings, operands } = invocation;
  requirePrivileges(settings.unprivileged);
  const { imagesDir, workDir } = openWorkplace(invocation);
  const options: RestoreOptions = {
    imagesDir,
    workDir,
    pidfile: settings.pidfile,
    sibling: settings.restoreSibling,
    verify: settings.verify,
    leaveStopped: settings.finalState === 'stopped',
    actionScripts: settings.actionScript,
    carry: carryOptions(settings),
  };
  const outcome = interruptible(() => restore(options));
  if (outcome.notices.length > 0) (await import('./report.ts')).reportNotices(outcome.notices, 'restore.ts', settings);
  if (settings.displayStats) printRestoreFigures(outcome.figures);
  if (settings.execCmd) return followTree.execute(operands);
  return settings.detached ? 0 : followTree.wait(outcome.pid, settings.exitCode);
}
