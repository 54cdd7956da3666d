/** `cpuinfo dump`, `cpuinfo check`: what the processor can do, written, and compared with that of another machine. */
import { cpuErrorOf } from '../api/cpuinfo.ts';
import type { Invocation } from '../api/invocation.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { openWorkplace } from '../api/workplace.ts';
import { saveCpuInfo } from '../engine/cpuinfo.ts';

/** Runs the command; returns its exit code. @throws StasisError (conflict) if this processor lacks something */
export function run(invocation: Invocation): number {
  const { settings, command } = invocation;
  requirePrivileges(settings.unprivileged);
  const { imagesDir } = openWorkplace(invocation);
  if (command === 'cpuinfo dump') {
    saveCpuInfo(imagesDir);
    return 0;
  }
  const error = cpuErrorOf(imagesDir, settings.cpuCap);
  if (error) throw error;
  return 0;
}
