/** `page-server`: stores the pages of a dump on another machine. */
import type { Directories } from '../api/engine-options.ts';
import type { Invocation } from '../api/invocation.ts';
import { flushLog } from '../api/logfile.ts';
import { listeningPlace, tlsOf } from '../api/page-server-place.ts';
import { printOut } from '../api/print.ts';
import type { Settings } from '../api/settings.ts';
import { interruptible } from '../api/signals.ts';
import { openWorkplace } from '../api/workplace.ts';
import { localFd } from '../base/brands.ts';
import { logInfo } from '../base/log.ts';
import { requireImages } from '../engine/lazy-pages/serve.ts';
import { giveOver, PagesOfImages } from '../engine/page-server/give.ts';
import {
  type AcceptedPages,
  acceptPages,
  givenPages,
  listenForPages,
  placeOfSocket,
} from '../engine/page-server/listen.ts';
import { type PageServerOutcome, requirePrevious, servePages } from '../engine/page-server/serve.ts';
import { Fd } from '../kernel/syscall.ts';
import { withOutcome } from '../tracee/interruption.ts';
import { goToBackground, socketOfForeground, tellReady } from './background.ts';

/** Runs the command; returns its exit code. */
export function run(invocation: Invocation): number {
  const { settings, operands } = invocation;
  const before = process.cwd();
  const directories = openWorkplace(invocation);
  const work = workOf(settings, directories);
  const tls = tlsOf(settings);
  const given = socketOfForeground('page-server', operands);
  // A connection that was given is not ours to close.
  const connected = settings.psSocket;
  if (connected !== undefined && !given && !settings.detached) {
    return finished(settings, directories, () => {
      tellReady(settings, process.pid);
      flushLog();
      using connection = givenPages(localFd(connected), `descriptor ${connected}`, tls);
      return work(connection, true);
    });
  }
  using socket = given ?? (connected === undefined ? listenForPages(listeningPlace(settings)) : new Fd(connected));
  if (settings.detached && !given) {
    sayWhere(settings, socket);
    tellReady(settings, goToBackground(socket, before));
    return 0;
  }
  return finished(settings, directories, () => {
    if (!given) {
      sayWhere(settings, socket);
      tellReady(settings, process.pid);
    }
    flushLog();
    using connection =
      connected === undefined ? acceptPages(socket, tls) : givenPages(socket.number, `descriptor ${connected}`, tls);
    // There is one connection only; whoever else tries is told so.
    if (connected === undefined) socket[Symbol.dispose]();
    return work(connection, connected !== undefined);
  });
}

type Work = (connection: AcceptedPages, stays: boolean) => PageServerOutcome;

/** What is done with a connection: pages are stored, or with --lazy-pages given. */
function workOf({ lazyPages, prevImagesDir, autoDedup }: Settings, { imagesDir }: Directories): Work {
  if (!lazyPages) {
    requirePrevious(imagesDir, prevImagesDir);
    return (connection, stays) => servePages(connection, stays, { imagesDir, previous: prevImagesDir, autoDedup });
  }
  requireImages(imagesDir);
  return (connection) => {
    using pages = new PagesOfImages(imagesDir);
    return { tasks: 0, segments: 0, pages: giveOver(connection, pages), pagesInParent: 0 };
  };
}

/** Where dumps find this server, which nobody else knows if the kernel has chosen the port. */
function sayWhere({ port = 0, psSocket, json }: Settings, socket: Fd): void {
  if (psSocket !== undefined) return;
  const { name } = placeOfSocket(socket.number);
  logInfo(`listening at ${name}`);
  if (port === 0 && !json) printOut(`listening at ${name}\n`);
}

/** Whoever was told that the server is ready may send it a signal: what tells them belongs into `serve`. */
function finished(settings: Settings, { imagesDir }: Directories, serve: () => PageServerOutcome): number {
  let outcome: PageServerOutcome;
  try {
    outcome = interruptible(serve);
  } catch (error) {
    throw withOutcome(
      error,
      settings.lazyPages ? 'not all pages were given' : 'no images are left of what was received',
    );
  }
  const { tasks, segments, pages, pagesInParent } = outcome;
  if (!settings.lazyPages)
    logInfo(`${tasks} tasks and ${segments} segments: ${pages} pages, and ${pagesInParent} in the previous images`);
  if (settings.json) printOut(`${JSON.stringify({ command: 'page-server', imagesDir, ...outcome })}\n`);
  return 0;
}
