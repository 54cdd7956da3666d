/** `restore`: brings a process tree back from its image files. */

import { hooksOf, restoreOptions } from '../api/engine-options.ts';
import { printRestoreFigures, restoreObject } from '../api/figures.ts';
import { followTree } from '../api/follow.ts';
import type { Invocation } from '../api/invocation.ts';
import { printOut } from '../api/print.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { interruptible } from '../api/signals.ts';
import { directoriesOf, openWorkplace } from '../api/workplace.ts';
import { restore } from '../engine/restore/restore.ts';
import { terminalProgress } from './progress.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { operands } = invocation;
  requirePrivileges(invocation.settings.unprivileged);
  const apart = invocation.settings.newPidNs ? await import('./apart.ts') : undefined;
  const inside = apart?.RestoreInside.begin(invocation.settings);
  if (apart && !inside) {
    const { pidfile } = restoreOptions(invocation.settings, directoriesOf(invocation.settings));
    return apart.restoreApart(invocation.settings, pidfile);
  }
  const settings = inside?.settings(invocation.settings) ?? invocation.settings;
  const from = settings.from === undefined ? undefined : (await import('./archive-ends.ts')).archiveSource(settings);
  const workplace = openWorkplace({ ...invocation, settings });
  using shown = terminalProgress(settings);
  const whenInFront: (() => boolean)[] = [];
  const hooks = {
    ...hooksOf(settings, workplace, inside ? { ...shown, at: (event) => inside.at(event) } : shown),
    whenInFront: (work: () => boolean) => whenInFront.push(work),
  };
  const outcome = interruptible(() => restore({ ...restoreOptions(settings, workplace), from }, hooks));
  shown[Symbol.dispose]();
  if (outcome.notices.length > 0)
    (await import('../api/report.ts')).reportNotices(outcome.notices, 'restore.ts', settings);
  inside?.tell(outcome, restoreObject(outcome, workplace));
  if (settings.json) printOut(`${JSON.stringify(restoreObject(outcome, workplace))}\n`);
  else if (settings.displayStats) printRestoreFigures(outcome.figures);
  if (settings.execCmd) return followTree.execute(operands);
  return settings.detached ? 0 : followTree.wait(outcome.pid, settings.exitCode, whenInFront);
}
