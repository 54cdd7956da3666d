/**
 * The side of a migration that a tree arrives at. What comes is kept in memory. The tree is restored until it is ready
 * to run, which it does when the source says so; if the source is gone by then, nothing is left of it.
 */
import { fromBase64 } from '../../base/base64.ts';
import { hostPid } from '../../base/brands.ts';
import { asStasisError, StasisError } from '../../base/errors.ts';
import { logDebug, logInfo, logWarn } from '../../base/log.ts';
import { ImageSet } from '../../images/image-set.ts';
import { O } from '../../kernel/constants/files.ts';
import { disk } from '../../kernel/disk.ts';
import { PreparedMemory } from '../../memory/prepared.ts';
import { MemoryDirectory } from '../../support/memory-directory.ts';
import { watchAgain } from '../../tracee/interruption.ts';
import { type CpuDemand, lackingOf } from '../cpuinfo.ts';
import type { HookEvent, Hooks } from '../hooks.ts';
import { servePages } from '../page-server/serve.ts';
import { type RestoreOptions, restore } from '../restore/restore.ts';
import { Channel, type Link } from './channel.ts';
import { Decision, decisionOn, prepareDecisions } from './decision.ts';
import { failureOf, failuresOf } from './failures.ts';
import { type Failure, type Message, PROTOCOL } from './messages.ts';
import { lackingHere } from './needs.ts';
import { rehearseRestore } from './rehearsal.ts';

type Hello = Extract<Message, { readonly type: 'hello' }>;
type Files = Extract<Message, { readonly type: 'images' }>['files'];
type Mappings = Extract<Message, { readonly type: 'mappings' }>;

/** How a side takes trees. */
export interface TargetOptions {
  readonly version: string;
  /** What a restore is told, and who takes part in it, by the options of the source. @throws StasisError (usage) */
  readonly restore: (
    options: Record<string, unknown>,
    imagesDir: string,
  ) => { readonly options: RestoreOptions; readonly hooks: Hooks; readonly cpu: CpuDemand };
  /** Whether a script of this side brings the addresses of the tree. */
  readonly lateAddresses: boolean;
}

/** What came of it: the PID of a tree that runs here; undefined if somebody has only asked. */
export interface TargetOutcome {
  readonly pid: number | undefined;
}

/** Serves one connection. @throws StasisError, and nothing is left of the tree here */
export function serveMigration(link: Link, options: TargetOptions): TargetOutcome {
  using channel = new Channel(link, true);
  const first = channel.receive('hello', 'ask');
  if (first.type === 'ask') {
    const state = decisionOn(first.token);
    logInfo(`asked what has become of a migration: ${state}`);
    channel.send({ type: 'outcome', state });
    return { pid: undefined };
  }
  using target = new Target(channel, first, options);
  try {
    return { pid: target.run() };
  } catch (error) {
    target.tell(error);
    throw error;
  }
}

class Target implements Disposable {
  readonly #channel: Channel;
  readonly #hello: Hello;
  readonly #options: TargetOptions;
  readonly #directory = new MemoryDirectory();
  #prepared: PreparedMemory | undefined;
  #decision: Decision | undefined;
  /** Whether the connection has pages on it, so that nothing else can be said. */
  #hasPages = false;

  constructor(channel: Channel, hello: Hello, options: TargetOptions) {
    this.#channel = channel;
    this.#hello = hello;
    this.#options = options;
  }

  run(): number {
    this.#greet();
    let dir = '';
    for (;;) {
      const message = this.#channel.receive('rehearse', 'round', 'mappings', 'images');
      watchAgain();
      if (message.type === 'rehearse') this.#rehearse(message.files);
      else if (message.type === 'round') dir = this.#takePages(message.round);
      else if (message.type === 'mappings') {
        this.#prepare(dir, message);
        this.#channel.send({ type: 'loaded' });
      } else return this.#restore(dir, message.files);
    }
  }

  #greet(): void {
    const { protocol, version } = this.#hello;
    if (protocol !== PROTOCOL) {
      const reason = `Stasis ${version} there and ${this.#options.version} here migrate in different ways`;
      throw this.#channel.error('MIGRATION_PROTOCOL', reason, 'use the same version on both machines');
    }
    const obstacles = this.#obstacles();
    for (const { resource, reason } of obstacles) logWarn('migrate.ts', `in the way: ${resource ?? ''}: ${reason}`);
    prepareDecisions();
    this.#channel.send({ type: 'welcome', version: this.#options.version, obstacles });
    if (obstacles.length > 0) throw refused(obstacles.length);
  }

  #obstacles(): Failure[] {
    const { path } = this.#directory;
    const { needs, options, cpu } = this.#hello;
    const fd = disk.open(`${path}/cpuinfo.img`, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
    disk.write(fd, fromBase64(cpu));
    disk.close(fd);
    try {
      const asked = this.#options.restore(options, path);
      const lacking = lackingOf(path, asked.cpu);
      const processor = lacking.length === 0 ? [] : [lackingProcessor(lacking)];
      return [...processor, ...lackingHere(needs, this.#options.lateAddresses)].flatMap(failuresOf);
    } catch (error) {
      return failuresOf(error);
    }
  }

  #takePages(round: number): string {
    const imagesDir = `${this.#directory.path}/${round}`;
    disk.makeDirectory(imagesDir);
    const { socket, name, whyEnded } = this.#channel.link;
    const previous = round === 0 ? undefined : `../${round - 1}`;
    this.#hasPages = true;
    const got = servePages({ socket, from: name, whyEnded }, true, { imagesDir, previous, autoDedup: false });
    this.#hasPages = false;
    logInfo(`round ${round}: ${got.pages} pages`);
    return imagesDir;
  }

  /** Prepares the memory of the root. It is not needed, only fast: what fails is left out. */
  #prepare(dir: string, { mappings, taken, fds }: Mappings): void {
    if (this.#hello.needs.pids.length === 0) return;
    const space = { mappings, taken, fds };
    try {
      this.#prepared ??= new PreparedMemory(this.#hello.root, space);
      this.#prepared.update(new ImageSet(dir, undefined, disk), space);
    } catch (error) {
      if (!(error instanceof StasisError)) throw error;
      logWarn('migrate.ts', `no memory is prepared: ${error.message}`);
      this.#prepared?.[Symbol.dispose]();
      this.#prepared = undefined;
    }
  }

  #takeImages(imagesDir: string, files: Files): void {
    const all = this.#channel.bytes(files.reduce((sum, { size }) => sum + size, 0));
    let next = 0;
    for (const { name, size } of files) {
      if (name.includes('/')) throw this.#channel.error('MIGRATION_PROTOCOL', `it sends an image called ${name}`);
      const fd = disk.open(`${imagesDir}/${name}`, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
      disk.write(fd, all.subarray(next, next + size));
      disk.close(fd);
      next += size;
    }
    logDebug(`${files.length} images have come`);
  }

  #rehearse(files: Files): void {
    const dir = `${this.#directory.path}/rehearsal`;
    disk.makeDirectory(dir);
    this.#takeImages(dir, files);
    rehearseRestore(this.#options.restore({}, dir).options);
  }

  #restore(imagesDir: string, files: Files): number {
    const began = performance.now();
    this.#takeImages(imagesDir, files);
    const { options, hooks } = this.#options.restore(this.#hello.options, imagesDir);
    let making = 0;
    const take = (event: HookEvent): number => {
      const code = hooks.at?.(event) ?? 0;
      if (code !== 0 || event.point !== 'post-restore') return code;
      making = performance.now() - began;
      this.#awaitGo(event);
      return 0;
    };
    const outcome = restore({ ...options, prepared: this.#prepared }, { ...hooks, at: take });
    this.#decision?.confirm();
    const times = { restore: outcome.figures.restore / 1000, making };
    logInfo(`the tree runs, its root as task ${outcome.pid}`);
    this.#afterwards({ type: 'running', pid: outcome.pid, times });
    return outcome.pid;
  }

  /** All tasks are there, stopped. They run if the source says so before it is gone. */
  #awaitGo({ pid = 0 }: HookEvent): void {
    this.#channel.send({ type: 'ready' });
    this.#channel.receive('go');
    this.#decision = new Decision(this.#hello.token, hostPid(pid));
  }

  /** Whatever becomes of the connection now, the tree runs. */
  #afterwards(message: Message): void {
    try {
      this.#channel.send(message);
      this.#channel.receive('done');
      this.#decision?.forget();
    } catch (error) {
      logWarn('migrate.ts', `the source does not say whether it knows that the tree runs: ${String(error)}`);
    }
  }

  /** Tells the source why nothing has come of it, if it can be told. */
  tell(error: unknown): void {
    this.#decision?.revoke();
    if (this.#hasPages || asStasisError(error).code === 'MIGRATION_LOST') return;
    try {
      this.#channel.send({ type: 'failed', failure: failureOf(error) });
    } catch {
      // It is gone.
    }
  }

  [Symbol.dispose](): void {
    this.#prepared?.[Symbol.dispose]();
    this.#decision?.[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

function refused(count: number): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'MIGRATION_REFUSED',
    reason: `${count === 1 ? 'something is' : `${count} things are`} in the way of the tree`,
    remedy: 'the source tells what, and the log of the service',
  });
}

function lackingProcessor(lacking: readonly string[]): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'CPU_STATE',
    resource: 'processor',
    reason: `it lacks what the program may use: ${lacking.join(', ')}`,
    remedy: 'migrate to a machine with a processor that has it',
  });
}
