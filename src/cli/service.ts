/** `service`: listens at a path, and has each client served by a process of its own. */
import type { Invocation } from '../api/invocation.ts';
import { flushLog } from '../api/logfile.ts';
import { requirePrivileges } from '../api/privileges.ts';
import type { Settings } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { StasisError } from '../base/errors.ts';
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
  requireNothingOfMigration(settings);
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

/** Requests over a socket of this machine bring their own options. @throws StasisError (usage) */
function requireNothingOfMigration({ actionScript, tls, insecure }: Settings): void {
  const given = actionScript.length > 0 ? '--action-script' : tls ? '--tls' : insecure ? '--insecure' : undefined;
  if (given === undefined) return;
  const reason = 'is for a service that takes trees from other machines';
  throw new StasisError({ kind: 'usage', resource: given, reason, remedy: 'add --listen HOST:PORT, or leave it out' });
}
