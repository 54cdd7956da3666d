/**
 * A lazy-pages daemon: brings the pages of restored tasks, those first that somebody waits for, until all are there.
 */
import type { LocalFd } from '../../base/brands.ts';
import { logDebug, logInfo, logWarn } from '../../base/log.ts';
import { Part } from '../../base/part.ts';
import { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { RLIMIT } from '../../kernel/constants/tasks.ts';
import { disk } from '../../kernel/disk.ts';
import { Epoll } from '../../kernel/epoll.ts';
import { arenaAddress, arenaView, type Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { Outstanding, piecesOf } from '../../memory/lazy/outstanding.ts';
import type { PageServerPlace } from '../../memory/page-server/client.ts';
import { lazyPagesOf } from '../../memory/sources/images.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { acceptRestore, nextSaying, SocketName, takeSaying } from './link.ts';
import { ImageSource, type LazySource } from './source.ts';
import { LazySpace } from './space.ts';

const REMOTE = new Part(() => require('./remote.ts') as typeof import('./remote.ts'));

/** What is asked of a daemon. */
export interface LazyPagesOptions {
  readonly imagesDir: string;
  readonly workDir: string;
  /** Whoever has the pages that are not in the images: a dump with --lazy-pages, or a page server. */
  readonly pageServer: PageServerPlace | undefined;
}

/** What a daemon has done. */
export interface LazyPagesOutcome {
  /** Address spaces, those of children that were forked meanwhile included. */
  readonly spaces: number;
  readonly pages: number;
  /** How often somebody had to wait for a page. */
  readonly faults: number;
}

/** Makes sure that there are images of a dump. @throws StasisError */
export function requireImages(imagesDir: string): void {
  new ImageSet(imagesDir, undefined, disk).inventory();
}

/**
 * Waits for a restore at a socket that listens, and brings pages until all are there. `ready` is called when the page
 * server is connected with.
 *
 * @throws StasisError if the restore fails, or pages cannot be had any more; then whoever touches one gets SIGBUS
 */
export function serveLazyPages(listener: Fd, options: LazyPagesOptions, ready: () => void): LazyPagesOutcome {
  using name = new SocketName(options.workDir);
  allowDescriptors();
  const images = new ImageSet(options.imagesDir, undefined, disk);
  const { pageServer } = options;
  using local = new ImageSource(images);
  using remote = pageServer && new (REMOTE.load().RemoteSource)(local, pageServer);
  const source: LazySource = remote ?? local;
  ready();
  using delivery = new Delivery(listener, images, source, name);
  try {
    delivery.run();
    source.finish?.();
    return delivery.outcome;
  } catch (error) {
    delivery.giveUp();
    throw error;
  }
}

/** Each task takes a descriptor, and each child that one forks. */
function allowDescriptors(): void {
  syscall('prlimit64', 0, RLIMIT.NOFILE, 0, arenaAddress);
  arenaView.setBigUint64(0, arenaView.getBigUint64(8, true), true);
  trySyscall('prlimit64', 0, RLIMIT.NOFILE, arenaAddress, 0);
}

class Delivery implements Disposable {
  readonly outcome = { spaces: 0, pages: 0, faults: 0 };
  readonly #images: ImageSet;
  readonly #source: LazySource;
  readonly #epoll = new Epoll();
  readonly #listener: Fd;
  readonly #name: SocketName;
  #connection: Fd | undefined;
  readonly #spaces = new Map<LocalFd, LazySpace>();
  /** All of them, the one first whose turn it is when nobody waits. */
  #turn: LazySpace[] = [];
  #isRestored = false;

  constructor(listener: Fd, images: ImageSet, source: LazySource, name: SocketName) {
    this.#images = images;
    this.#source = source;
    this.#listener = listener;
    this.#name = name;
    this.#epoll.add(listener.number);
    if (source.connection !== undefined) this.#epoll.add(source.connection);
  }

  run(): void {
    while (!this.#isRestored || this.#spaces.size > 0) {
      requireUninterrupted();
      for (const fd of this.#epoll.wait(this.#patience)) this.#attend(fd);
      for (const space of this.#spaces.values()) if (space.isNeeded) space.askForNeeded(this.#source);
      if (!this.#isRestored) continue;
      if (this.#source.hasRoom) this.#askForMore();
      for (const space of this.#spaces.values()) if (space.isDone) this.#retire(space);
    }
  }

  /** Milliseconds to wait for anything to happen. */
  get #patience(): number {
    for (const space of this.#spaces.values()) if (space.isNeeded) return 1;
    if (!this.#isRestored || !this.#source.hasRoom) return -1;
    return this.#turn.some((space) => space.hasWaiting) ? 0 : -1;
  }

  #attend(fd: LocalFd): void {
    const space = this.#spaces.get(fd);
    if (space) for (const child of space.takeEvents()) this.#add(child);
    else if (fd === this.#connection?.number) this.#listen(this.#connection);
    else if (fd === this.#source.connection) this.#source.receive?.();
    else if (!this.#connection && fd === this.#listener.number) this.#accept();
  }

  /** There is one restore only; whoever else tries is told so. */
  #accept(): void {
    this.#connection = acceptRestore(this.#listener, this.#images.inventory().dump_criu_run_id);
    this.#epoll.add(this.#connection.number);
    this.#epoll.remove(this.#listener.number);
    this.#listener[Symbol.dispose]();
    this.#name[Symbol.dispose]();
  }

  #listen(connection: Fd): void {
    for (let saying = nextSaying(connection); saying; saying = nextSaying(connection)) {
      // Read before it is taken, so that it is an error of the restore if that fails.
      const outstanding = saying.of === 'task' ? this.#outstandingOf(saying.pid) : undefined;
      const userfault = takeSaying(connection, saying);
      if (saying.of === 'task' && userfault && outstanding) {
        this.#add(new LazySpace(saying.pid, userfault, outstanding));
      } else if (saying.of === 'restored') {
        logInfo('the tasks run');
        this.#isRestored = true;
        this.#epoll.remove(connection.number);
        return;
      }
    }
  }

  #outstandingOf(pid: number): Outstanding {
    const ranges = lazyPagesOf(this.#images, pid);
    this.#source.require(pid, ranges);
    const ends = this.#images.readOne(Images.mm, pid).vmas.map(({ end }) => Number(end));
    return new Outstanding(piecesOf(ranges, ends));
  }

  #add(space: LazySpace): void {
    this.outcome.spaces++;
    this.#spaces.set(space.userfault.number, space);
    this.#turn.push(space);
    this.#epoll.add(space.userfault.number);
    logDebug(`an address space of task ${space.pid} waits for pages`);
  }

  /** One lot for the next space in turn. */
  #askForMore(): void {
    const at = this.#turn.findIndex((space) => space.hasWaiting);
    const [space] = this.#turn.splice(at, at < 0 ? 0 : 1);
    if (!space) return;
    // It stays in the list: what has come may have to be asked for again.
    this.#turn.push(space);
    space.askForMore(this.#source);
  }

  #retire(space: LazySpace): void {
    this.#count(space);
    this.#epoll.remove(space.userfault.number);
    this.#spaces.delete(space.userfault.number);
    this.#turn = this.#turn.filter((other) => other !== space);
    space[Symbol.dispose]();
  }

  #count({ pid, figures }: LazySpace): void {
    this.outcome.pages += figures.pages;
    this.outcome.faults += figures.faults;
    logDebug(`task ${pid}: ${figures.pages} pages were brought, ${figures.faults} times somebody waited`);
  }

  /** Sees to it that nobody takes the zeros, which the kernel gives when nobody brings pages, for what was there. */
  giveUp(): void {
    let bytes = 0;
    for (const space of this.#spaces.values()) {
      bytes += space.poison();
      const unpoisoned = space.outstanding.pieces.reduce((sum, { length }) => sum + length, 0);
      if (unpoisoned === 0 || !this.#isRestored) continue;
      // UFFDIO_POISON came with Linux 6.6.
      const reason = `${unpoisoned} bytes were not brought, and the kernel gives zeros for them: end the task`;
      logWarn('lazy-pages.ts', `task ${space.pid}: ${reason}`);
    }
    if (bytes > 0 && this.#isRestored)
      logWarn('lazy-pages.ts', `${bytes} bytes were not brought: whoever touches them gets SIGBUS`);
  }

  [Symbol.dispose](): void {
    for (const space of this.#spaces.values()) space[Symbol.dispose]();
    this.#connection?.[Symbol.dispose]();
    this.#epoll[Symbol.dispose]();
  }
}
