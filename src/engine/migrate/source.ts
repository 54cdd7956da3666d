/**
 * The side of a migration that a tree leaves. Its memory is sent in rounds while it runs, then it is frozen, the rest
 * follows, and it ends when the other side says that it runs there. Until then whatever fails lets it go on.
 */
import { toBase64 } from '../../base/base64.ts';
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug, logInfo, logWarn } from '../../base/log.ts';
import type { Notice } from '../../base/notice.ts';
import type { CarryOptions } from '../../contract/contract.ts';
import { ImageError } from '../../images/error.ts';
import { readFile } from '../../images/image-files.ts';
import { ImageSet } from '../../images/image-set.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { disk } from '../../kernel/disk.ts';
import { namesIn } from '../../kernel/files.ts';
import { nap } from '../../kernel/nap.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { findKeepers, takeOver } from '../../memory/tracking/keeper.ts';
import { MemoryDirectory } from '../../support/memory-directory.ts';
import { requireUninterrupted, watchAgain, withOutcome } from '../../tracee/interruption.ts';
import { saveCpuInfo } from '../cpuinfo.ts';
import { type DumpOptions, dump, requireCarriable } from '../dump/dump.ts';
import { inspectRunning } from '../dump/preflight.ts';
import type { HookEvent, Hooks } from '../hooks.ts';
import { type PreDumpOptions, preDump } from '../pre-dump/pre-dump.ts';
import { Channel, type Link } from './channel.ts';
import { failureError, refusal } from './failures.ts';
import { removeLastingLock } from './lasting-lock.ts';
import { MappingsOf } from './mappings.ts';
import { type Needs, PROTOCOL, type RestoreTimes } from './messages.ts';
import { needsOf } from './needs.ts';
import { rehearseDump } from './rehearsal.ts';

/** Pages of CRIU's statistics, in bytes. */
const PAGE = 4096;

/** What is to be migrated, and how. */
export interface MigrateOptions {
  readonly pid: HostPid;
  /** What pre-dumps and the dump are told; directories, page server and chain are the matter of the migration. */
  readonly preDump: Omit<PreDumpOptions, 'imagesDir' | 'workDir' | 'previous' | 'pageServer'>;
  readonly dump: Omit<DumpOptions, 'imagesDir' | 'workDir' | 'previous' | 'pageServer'>;
  /** What the restore is told, as a program would say it. */
  readonly restore: Record<string, unknown>;
  readonly version: string;
  /** The most rounds before the freeze. */
  readonly rounds: number;
  /** How many bytes may be dirty for the last part, for which the tree is frozen. */
  readonly small: number | undefined;
  /** Compare the contents of files, too. */
  readonly checkFiles: boolean;
  /** Connects with the other machine again, to ask what has become of the migration. @throws StasisError */
  readonly connect: () => Link;
}

/** One round of copying. Times are milliseconds. */
export interface Round {
  readonly bytes: number;
  /** For how long the tree stood still. */
  readonly frozen: number;
  readonly total: number;
}

/** What a migration came to. Times are milliseconds. */
export interface MigrationOutcome {
  /** The PID of the root there. */
  readonly pid: number;
  readonly total: number;
  /** From the freeze until the other side said that the tree runs. */
  readonly frozen: number;
  readonly rounds: readonly Round[];
  /** What was sent while the tree stood still. */
  readonly last: { readonly bytes: number; readonly images: number };
  readonly times: RestoreTimes;
  readonly notices: readonly Notice[];
}

/** How far a migration is. */
export type MigrationProgress = (round: Round, index: number) => void;

/** Migrates a tree over a connection, which is used up by that. @throws StasisError, and the tree goes on */
export function migrate(
  options: MigrateOptions,
  link: Link,
  hooks: Hooks = {},
  progress: MigrationProgress = () => {},
): MigrationOutcome {
  using source = new Source(options, new Channel(link, true), hooks, progress);
  try {
    return source.run();
  } catch (error) {
    source.endTracking();
    const { pid } = options;
    throw withOutcome(error, `task ${pid} and its tree go on, and nothing is left on the other machine`);
  }
}

class Source implements Disposable {
  readonly #options: MigrateOptions;
  readonly #hooks: Hooks;
  readonly #progress: MigrationProgress;
  readonly #channel: Channel;
  readonly #directory = new MemoryDirectory();
  readonly #token = newToken();
  readonly #rounds: Round[] = [];
  readonly #mappings: MappingsOf;
  /** Since when the tree is frozen. */
  #frozen = 0;
  #failure: unknown;
  #running: { readonly pid: number; readonly times: RestoreTimes; readonly frozen: number } | undefined;
  #imageBytes = 0;

  constructor(options: MigrateOptions, channel: Channel, hooks: Hooks, progress: MigrationProgress) {
    this.#options = options;
    this.#mappings = new MappingsOf(options.pid);
    this.#channel = channel;
    this.#hooks = hooks;
    this.#progress = progress;
  }

  run(): MigrationOutcome {
    const began = performance.now();
    const { pid, dump: asked } = this.#options;
    const found = inspectRunning(pid, asked.carry, (tree, obstacles) => {
      requireCarriable(tree, obstacles);
      return { root: Number(tree.pids.saved(pid)), needs: needsOf(tree, this.#options.checkFiles) };
    });
    this.#greet(found.root, found.needs);
    this.#rehearse();
    while (!this.#isEnough()) this.#copyRound();
    const outcome = this.#moveRest(asked.carry);
    if (!this.#running) throw this.#failure;
    const { pid: there, times, frozen } = this.#running;
    this.#tellDone();
    return {
      pid: there,
      total: performance.now() - began,
      frozen,
      rounds: this.#rounds,
      last: { bytes: (outcome.figures.pages + outcome.figures.sharedPages) * PAGE, images: this.#imageBytes },
      times,
      notices: outcome.notices,
    };
  }

  #greet(root: number, needs: Needs): void {
    const { version, restore } = this.#options;
    const { path } = this.#directory;
    saveCpuInfo(path);
    const cpu = toBase64(contentOf(path, 'cpuinfo.img'));
    disk.unlink(`${path}/cpuinfo.img`);
    const token = this.#token;
    this.#channel.send({ type: 'hello', protocol: PROTOCOL, version, token, root, options: restore, needs, cpu });
    const { obstacles } = this.#channel.receive('welcome');
    if (obstacles.length > 0) throw refusal(obstacles, this.#channel.link.name);
    logInfo(`${this.#channel.link.name} can take the tree`);
  }

  #rehearse(): void {
    const dir = `${this.#directory.path}/rehearsal`;
    const { dump: asked } = this.#options;
    const options = {
      ...asked,
      previous: undefined,
      pageServer: undefined,
      carry: { ...asked.carry, shellJob: false },
    };
    if (!rehearseDump(options, dir)) return;
    const { list, bytes } = imagesIn(dir);
    this.#channel.send({ type: 'rehearse', files: list }, bytes);
  }

  /** Whether the rest is small enough to be sent while the tree stands still, or will not become smaller. */
  #isEnough(): boolean {
    const { rounds, small } = this.#options;
    const [before, last] = this.#rounds.slice(-2);
    if (this.#rounds.length === 0) return rounds === 0;
    if (this.#rounds.length >= rounds) return true;
    if (!last || !before) return (before?.bytes ?? 0) <= (small ?? SMALL);
    return last.bytes <= (small ?? Math.max(SMALL, this.#sentSoon())) || last.bytes > before.bytes * SHRINKS;
  }

  /** How many bytes take no time to be sent, at the pace of the first round: what all rounds have in common is more. */
  #sentSoon(): number {
    const [{ bytes, total } = { bytes: 0, total: 1 }] = this.#rounds;
    return (bytes / total) * NO_TIME;
  }

  #copyRound(): void {
    watchAgain();
    requireUninterrupted();
    const index = this.#rounds.length;
    const began = performance.now();
    this.#channel.send({ type: 'round', round: index });
    const { figures } = preDump({ ...this.#options.preDump, ...this.#place(index) }, this.#hooks);
    this.#channel.send({ type: 'mappings', ...this.#mappings.now() });
    this.#channel.receive('loaded');
    const bytes = (figures.pages + figures.sharedPages) * PAGE;
    const round = { bytes, frozen: figures.frozen / 1000, total: performance.now() - began };
    this.#rounds.push(round);
    logInfo(`round ${index}: ${bytes} bytes in ${round.total.toFixed(0)} ms, ${round.frozen.toFixed(1)} of it frozen`);
    this.#progress(round, index);
  }

  /** Where the images of a round go, and its pages. */
  #place(index: number): Pick<PreDumpOptions, 'imagesDir' | 'workDir' | 'previous' | 'pageServer'> {
    const imagesDir = `${this.#directory.path}/${index}`;
    disk.makeDirectory(imagesDir);
    const { socket, name } = this.#channel.link;
    const previous = index === 0 ? undefined : `../${index - 1}`;
    return { imagesDir, workDir: imagesDir, previous, pageServer: { descriptor: socket, name } };
  }

  #moveRest(carry: CarryOptions) {
    watchAgain();
    const index = this.#rounds.length;
    const { at, progress } = this.#hooks;
    this.#channel.send({ type: 'round', round: index });
    const place = this.#place(index);
    const hooks: Hooks = {
      ...this.#hooks,
      progress: (told) => {
        if (told.step === 'freezing') this.#frozen = performance.now();
        progress?.(told);
      },
      at: (event) => {
        // Whoever else takes part says first whether the tree is to end here.
        const code = at?.(event) ?? 0;
        return code === 0 && event.point === 'post-dump' ? this.#handOver(event, place.imagesDir) : code;
      },
    };
    const outcome = dump({ ...this.#options.dump, ...place }, hooks);
    if (this.#running && carry.networkLock !== 'skip') removeLastingLock(runOf(place.imagesDir));
    this.#failure ??= new StasisError({ kind: 'usage', resource: 'post-dump script', reason: 'it has failed' });
    return outcome;
  }

  /** Has the other side restore the tree, which is frozen here. Returns 0 if it runs there, so that it ends here. */
  #handOver({ tasks = [] }: HookEvent, imagesDir: string): number {
    let isGone = false;
    try {
      this.#sendImages(imagesDir);
      const answer = this.#channel.receive('ready', 'failed');
      if (answer.type === 'failed') throw failureError(answer.failure, this.#channel.link.name);
      // From here on the tree must not run on by itself if Stasis is killed: it might run there as well. So it would
      // be stopped. Nothing of that shows as long as it is not let go.
      for (const pid of tasks) trySyscall('kill', pid, SIG.STOP);
      isGone = true;
      this.#channel.send({ type: 'go' });
      const last = this.#channel.receive('running', 'failed');
      if (last.type === 'failed') throw failureError(last.failure, this.#channel.link.name);
      this.#runs(last.pid, last.times);
      return 0;
    } catch (error) {
      this.#failure = error;
      if (!isGone) return 1;
      const state = isKnown(error) ? 'given up' : this.#ask(error);
      if (state === 'running') {
        this.#runs(0, { restore: 0, making: 0 });
        return 0;
      }
      if (state === 'given up') for (const pid of tasks) trySyscall('kill', pid, SIG.CONT);
      return 1;
    }
  }

  #runs(pid: number, times: RestoreTimes): void {
    this.#running = { pid, times, frozen: performance.now() - this.#frozen };
  }

  #sendImages(imagesDir: string): void {
    const { list, bytes } = imagesIn(imagesDir);
    this.#imageBytes = bytes.length;
    this.#channel.send({ type: 'images', files: list }, bytes);
    logDebug(`${list.length} images are sent, ${this.#imageBytes} bytes`);
  }

  /** Asks the other machine, on another connection, what has become of the tree there. */
  #ask(cause: unknown): 'running' | 'given up' | undefined {
    logWarn('migrate.ts', `the connection broke while the tree was handed over: ${String(cause)}`);
    const until = performance.now() + ASKING;
    while (performance.now() < until) {
      try {
        using channel = new Channel(this.#options.connect(), true);
        channel.send({ type: 'ask', token: this.#token });
        const { state } = channel.receive('outcome');
        logInfo(`${channel.link.name} says: ${state}`);
        return state;
      } catch (error) {
        logDebug(`asking: ${String(error)}`);
        nap(PAUSE);
      }
    }
    this.#failure = undecided(this.#options.pid, this.#channel.link.name);
    return undefined;
  }

  #tellDone(): void {
    try {
      this.#channel.send({ type: 'done' });
    } catch {
      // The tree runs there in any case.
    }
  }

  /** Nothing is to watch the memory of a tree that stays. */
  endTracking(): void {
    const keeper = findKeepers().find(({ record }) => record.root === this.#options.pid);
    for (const { fd } of keeper ? takeOver(keeper) : []) fd[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#channel[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

/** A round has to be this much smaller than the one before, or the next one is the last. */
const SHRINKS = 0.75;
/** How many bytes are small enough, if the user does not say. */
const SMALL = 4 << 20;
/** How many milliseconds do not matter: the tree stands still for several times as long whatever is sent. */
const NO_TIME = 10;
/** Milliseconds for which the other machine is asked again and again, and nanoseconds between two tries. */
const ASKING = 30_000;
const PAUSE = 300_000_000;

/** Whether the other side has said itself that nothing has come of it. */
function isKnown(error: unknown): boolean {
  return error instanceof StasisError && error.code === 'MIGRATION_FAILED';
}

function undecided(pid: number, name: string): StasisError {
  return new StasisError({
    kind: 'io',
    code: 'MIGRATION_UNDECIDED',
    task: { pid },
    reason: `the connection with ${name} broke as the tree was handed over, and nobody answers there; it is stopped here`,
    remedy: `if it runs there, end it here (kill -KILL); if it does not, let it go on here (kill -CONT)`,
  });
}

function newToken(): string {
  const bytes = process.getBuiltinModule('node:crypto').randomBytes(16);
  return bytes.toString('hex');
}

function runOf(imagesDir: string): string | undefined {
  return new ImageSet(imagesDir, undefined, disk).inventory().dump_criu_run_id;
}

/** @throws ImageError if there is no such file */
function contentOf(dir: string, name: string): Uint8Array {
  const bytes = readFile(disk, `${dir}/${name}`, name);
  if (bytes) return bytes;
  throw new ImageError({ file: name, reason: 'has vanished' });
}

/** All images of a folder, one after the other, but for the link to those before. */
function imagesIn(dir: string): { list: { name: string; size: number }[]; bytes: Uint8Array } {
  const names = namesIn(dir).filter((name) => name !== 'parent');
  const files = names.map((name) => ({ name, bytes: contentOf(dir, name) }));
  const list = files.map(({ name, bytes }) => ({ name, size: bytes.length }));
  return { list, bytes: joined(files.map(({ bytes }) => bytes)) };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
