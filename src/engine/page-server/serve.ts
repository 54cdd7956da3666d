/** Serves one connection of a page server: writes images of the pages that a dump elsewhere sends. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug, logInfo, logWarn } from '../../base/log.ts';
import { ImageSetWriter } from '../../images/image-set-writer.ts';
import { PageFlags } from '../../images/pagemap.ts';
import { POLL } from '../../kernel/constants/files.ts';
import { disk } from '../../kernel/disk.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { waitFor } from '../../kernel/poll.ts';
import { PageConnection } from '../../memory/page-server/connection.ts';
import {
  flagsOfAdded,
  type PageMessage,
  type PageTarget,
  PS,
  targetOf,
  whyNoPages,
} from '../../memory/page-server/protocol.ts';
import { pointOfNoReturn } from '../../tracee/interruption.ts';
import { dedup } from '../dedup.ts';
import type { AcceptedPages } from './listen.ts';
import { Receiver } from './receive.ts';
import { nameOf, PageImages, type PagesOfTarget } from './store.ts';

/** Milliseconds to wait for the dump to hang up. */
const LINGER = 10_000;

/** What is asked of a page server. */
export interface PageServerOptions {
  readonly imagesDir: string;
  /** `--prev-images-dir`: the images of the previous dump, relative to the images directory. */
  readonly previous: string | undefined;
  /** Whether to free what the previous images hold in vain, when all is stored. */
  readonly autoDedup: boolean;
}

/** What a page server has stored. */
export interface PageServerOutcome {
  readonly tasks: number;
  readonly segments: number;
  /** Pages whose contents it has got. */
  readonly pages: number;
  /** Pages that the images of the previous dump have. */
  readonly pagesInParent: number;
}

/** Makes sure that the previous images are there, before anybody sends anything. @throws StasisError (usage) */
export function requirePrevious(imagesDir: string, previous: string | undefined): void {
  if (previous === undefined) return;
  const dir = previous.startsWith('/') ? previous : `${imagesDir}/${previous}`;
  if (disk.status(dir)) return;
  const remedy = 'it counts from the images directory (-D)';
  throw new StasisError({ kind: 'usage', resource: dir, reason: 'there are no images of a previous dump', remedy });
}

/**
 * Serves a connection until the dump has sent everything.
 *
 * @param stays whether the connection goes on to be used by others, so that nobody hangs up
 * @throws StasisError if the dump fails or sends what makes no sense; then no images are left
 */
export function servePages(
  { socket, from, whyEnded }: Omit<AcceptedPages, typeof Symbol.dispose>,
  stays: boolean,
  options: PageServerOptions,
): PageServerOutcome {
  using connection = new PageConnection(socket, { name: `the dump at ${from}`, isUrgent: false, whyEnded });
  using images = new ImageSetWriter(options.imagesDir, disk);
  using store = new PageImages(images, options.previous);
  using session = new Session(connection, store);
  session.serve();
  if (options.autoDedup) freeAfter(options.imagesDir);
  if (!stays) session.awaitHangUp();
  return session.outcome;
}

/** The images are complete, whatever comes of this. */
function freeAfter(imagesDir: string): void {
  try {
    if (disk.status(`${imagesDir}/parent`)) dedup(imagesDir);
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    logWarn('page-server.ts', `earlier images hold what they held: ${error.message}`);
  }
}

class Session implements Disposable {
  readonly outcome = { tasks: 0, segments: 0, pages: 0, pagesInParent: 0 };
  readonly #connection: PageConnection;
  readonly #receiver: Receiver;
  readonly #store: PageImages;
  readonly #answer = new PinnedBuffer(new Uint8Array(4));

  constructor(connection: PageConnection, store: PageImages) {
    this.#connection = connection;
    this.#receiver = new Receiver(connection);
    this.#store = store;
  }

  /** Does what the messages say, up to the last one. */
  serve(): void {
    for (;;) {
      const message = this.#receiver.message();
      if (!message) throw this.#connection.error('PAGE_SERVER_LOST', 'it has hung up before it had sent everything');
      if (!this.#obey(message)) return;
    }
  }

  /** Returns whether there is more to come. */
  #obey(message: PageMessage): boolean {
    switch (message.command) {
      case PS.OPEN:
        this.#open(this.#targetOf(message));
        return true;
      case PS.OPEN2:
        this.#reply(1, this.#open(this.#targetOf(message)).hasParent ? 1 : 0);
        return true;
      case PS.PARENT:
        this.#reply(4, this.#store.hasParent(this.#targetOf(message)) ? 1 : 0);
        return true;
      case PS.ADD:
      case PS.HOLE:
      case PS.ADD_F:
        this.#add(message, flagsOfAdded(message) ?? 0);
        return true;
      case PS.CLOSE:
      case PS.FORCE_CLOSE:
        this.#finish();
        return false;
      case PS.GET:
        throw this.#wrong('it asks for pages, which this page server does not give', 'see --lazy-pages');
      default:
        throw this.#wrong(`there is no command ${message.command}`);
    }
  }

  #targetOf({ target }: PageMessage): PageTarget {
    const found = targetOf(target);
    if (!found) throw this.#wrong(`0x${target.toString(16)} means neither a task nor a segment`);
    return found;
  }

  #open(target: PageTarget): PagesOfTarget {
    const name = nameOf(target);
    // Whatever came before would be lost.
    if (this.#store.wasOpened(target)) throw this.#wrong(`${name} comes twice`);
    const opened = this.#store.open(target);
    this.outcome[target.of === 'task' ? 'tasks' : 'segments']++;
    logDebug(`${name} is stored${opened.hasParent ? ', with what the previous images have of it' : ''}`);
    return opened;
  }

  #add(message: PageMessage, flags: number): void {
    const target = this.#targetOf(message);
    const { current } = this.#store;
    // Old versions of CRIU open nothing.
    const pages = current && nameOf(current.target) === nameOf(target) ? current : this.#open(target);
    const why = whyNoPages(message, flags, pages.end);
    if (why !== undefined) throw this.#wrong(`${nameOf(target)}: ${why}`);
    const { start, pages: count } = message;
    if (flags & PageFlags.PARENT) {
      const missing = pages.missingInParent(start, count);
      if (missing !== undefined) {
        const reason = `${nameOf(target)}: the previous images do not have the page at 0x${missing.toString(16)}`;
        throw this.#connection.error('PAGE_SERVER_PROTOCOL', reason, 'name the images of the dump before');
      }
      this.outcome.pagesInParent += count;
    }
    if (flags & PageFlags.PRESENT) {
      this.#receiver.append(pages.file, pages.path, count * PAGE_SIZE);
      this.outcome.pages += count;
    }
    pages.add(start, count, flags);
  }

  /** Completes the images. They are kept if the dump was told so. */
  #finish(): void {
    pointOfNoReturn();
    try {
      this.#store.finish();
    } catch (error) {
      this.#reply(4, -1);
      throw error;
    }
    this.#reply(4, 0);
    this.#store.keep();
    logInfo('everything is stored');
  }

  #reply(size: number, value: number): void {
    new DataView(this.#answer.view.buffer).setInt32(0, value, true);
    this.#connection.gather(this.#answer.address, size);
    this.#connection.flush(false);
  }

  /**
   * Waits a while for the other side to hang up, so that this one has no connection that lingers (TIME_WAIT). Whatever
   * comes of it, the images are complete.
   */
  awaitHangUp(): void {
    try {
      if (!waitFor(this.#connection.socket, POLL.IN, LINGER)) return;
      if (this.#receiver.hasMore || this.#receiver.message())
        logWarn('page-server.ts', 'the dump goes on after its end');
    } catch (error) {
      if (!(error instanceof StasisError)) throw error;
      logWarn('page-server.ts', error.message);
    }
  }

  #wrong(
    reason: string,
    remedy = 'a dump of CRIU 4.2 or Stasis is expected; CRIU up to 4.1 speaks otherwise',
  ): StasisError {
    return this.#connection.error('PAGE_SERVER_PROTOCOL', reason, remedy);
  }

  [Symbol.dispose](): void {
    this.#receiver[Symbol.dispose]();
    this.#answer[Symbol.dispose]();
  }
}
