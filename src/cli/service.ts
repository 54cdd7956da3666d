/** `service`: listens at a path, and has each client served by a process of its own. */
import type { Invocation } from '../api/invocation.ts';
import { flushLog } from '../api/logfile.ts';
import { requirePrivileges } from '../api/privileges.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { logInfo } from '../base/log.ts';
import { disk } from '../kernel/disk.ts';
import { DEFAULT_ADDRESS, listenAt, serveClients } from '../rpc/service.ts';
import { withOutcome } from '../tracee/interruption.ts';
import { goToBackground, socketOfForeground, tellReady } from './background.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { settings, operands } = invocation;
  requirePrivileges(settings.unprivileged);
  const before = process.cwd();
  openWorkplace(invocation);
  if (settings.listen !== undefined) {
    return (await import('./migration-service.ts')).runMigrationService(invocation, before);
  }
  const path = settings.address ?? DEFAULT_ADDRESS;
  const given = socketOfForeground('service', operands);
  const isBackground = given !== undefined;
  using listener = given ?? listenAt(path);
  if (settings.detached && !isBackground) {
    tellReady(settings, goToBackground(listener, before));
    return 0;
  }
  if (!isBackground) tellReady(settings, process.pid);
  logInfo(`listening at ${path}`);
  flushLog();
  try {
    return interruptible(() => serveClients(listener));
  } catch (error) {
    throw withOutcome(error, 'no further client is served');
  } finally {
    disk.unlink(path);
  }
}
