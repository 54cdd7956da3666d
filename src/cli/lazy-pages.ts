/** `lazy-pages`: brings the memory of restored processes when they need it. */
import type { Invocation } from '../api/invocation.ts';
import { flushLog } from '../api/logfile.ts';
import { placeOf } from '../api/page-server-place.ts';
import { printOut } from '../api/print.ts';
import type { Settings } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { logInfo } from '../base/log.ts';
import { listenForRestore } from '../engine/lazy-pages/link.ts';
import { type LazyPagesOptions, requireImages, serveLazyPages } from '../engine/lazy-pages/serve.ts';
import type { Fd } from '../kernel/syscall.ts';
import { connectWith } from '../memory/page-server/client.ts';
import { withOutcome } from '../tracee/interruption.ts';
import { goToBackground, socketOfForeground, tellReady } from './background.ts';
import { located } from './located.ts';

/** Runs the command; returns its exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { operands } = invocation;
  const settings = await located(invocation.settings);
  const before = process.cwd();
  const directories = openWorkplace(invocation);
  const given = socketOfForeground('lazy-pages', operands);
  const place = settings.pageServer ? placeOf(settings) : undefined;
  if (!given) requireImages(directories.imagesDir);
  using listener = given ?? listenForRestore(directories.workDir);
  if (settings.detached && !given) {
    // Whoever is told that the daemon is ready can rely on the page server as well.
    // Which speaks TLS, if that is wanted, when it has the connection.
    const connected = place && connectWith({ ...place, tls: undefined });
    tellReady(
      settings,
      goToBackground(listener, before, connected && { option: '--ps-socket', socket: connected.socket }),
    );
    return 0;
  }
  return serve(settings, { ...directories, pageServer: place }, listener, () => {
    if (!given) tellReady(settings, process.pid);
    logInfo(`waiting for a restore in ${directories.workDir}`);
    flushLog();
  });
}

function serve(settings: Settings, options: LazyPagesOptions, listener: Fd, ready: () => void): number {
  try {
    const outcome = interruptible(() => serveLazyPages(listener, options, ready));
    const { spaces, pages, faults } = outcome;
    const { imagesDir, workDir } = options;
    logInfo(`everything was brought: ${pages} pages to ${spaces} address spaces; ${faults} times somebody waited`);
    if (settings.json) printOut(`${JSON.stringify({ command: 'lazy-pages', imagesDir, workDir, ...outcome })}\n`);
    return 0;
  } catch (error) {
    throw withOutcome(error, 'whoever touches a page that was not brought gets SIGBUS (before Linux 6.6 zeros)');
  }
}
