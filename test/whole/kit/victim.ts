/**
 * A program under test, alone or with children: started in a session of its own with its standard descriptors on files,
 * dumped, restored, asked for its verdict, and ended by its process IDs whatever happens.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { trySyscall } from '../../../src/kernel/syscall.ts';
import { victimBinary } from './compile.ts';
import { complaint, type Outcome, type RunOptions, stasisOk } from './stasis.ts';
import { differences, type TaskState } from './state.ts';
import { removeTables } from './tables.ts';
import { bearersOf, descendants, environmentOf, otherThreads, readTreeState, statOf } from './tree.ts';
import { sleep, until } from './until.ts';

const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;
const SIGKILL = 9;
const SIGSTOP = 19;

/**
 * Restored processes become children of this process when Stasis has ended, so that a dead one can be buried at once:
 * PID 1 of a container may take its time for that, and its process ID is in use until then.
 */
trySyscall('prctl', PR_SET_CHILD_SUBREAPER, 1);

/** Ends the processes that are left if the tests themselves are ended. */
const living = new Set<Victim>();
process.on('exit', () => {
  for (const victim of living) victim.kill();
});

export interface StartOptions {
  /** Environment beyond the few variables every victim gets. */
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input, a file; by default the one questions are asked through. */
  readonly input?: string;
  /** Milliseconds to get ready (10,000). */
  readonly limitMs?: number;
  /** Do not wait for "READY". */
  readonly silent?: boolean;
  /** Options of unshare(1), which starts it as its child, a session leader, in namespaces of its own. */
  readonly unshare?: readonly string[];
  /** The program starts another one itself, in namespaces of its own: that one is the victim. */
  readonly startsApart?: boolean;
  /** Options of nsenter(1), which has it join namespaces; in a PID namespace as a session leader, too. */
  readonly enter?: readonly string[];
}

/**
 * A command that has another one started by unshare(1), as a session leader. What unshare says itself at its end is not
 * to be in the files of the victim.
 */
function apart(program: 'unshare' | 'nsenter', options: readonly string[]): string[] {
  const behind = ['setsid', 'sh', '-c', 'exec "$@" 2>&3 3>&-', 'victim'];
  return ['sh', '-c', `exec 3>&2 2>/dev/null ${program} "$@"`, program, ...options, ...behind];
}

/** What comes before the command, and whether the victim has another process as its parent by that. */
function before({ unshare, enter }: StartOptions): { readonly words: readonly string[]; readonly isApart: boolean } {
  if (unshare) return { words: apart('unshare', ['--fork', ...unshare]), isApart: true };
  if (enter?.includes('--pid')) return { words: apart('nsenter', enter), isApart: true };
  return { words: enter ? ['nsenter', ...enter] : [], isApart: false };
}

export class Victim implements Disposable {
  /** Of its root. It changes when one with a PID namespace of its own is restored. */
  pid: number;
  /** The directory of this run: `cwd/`, `ask`, `out`, `err`, and the images. */
  readonly dir: string;
  readonly cwd: string;
  /** Where the images of the latest dump are. */
  images = '';
  readonly #token: string;
  /** Of the process as started; restored ones have another. */
  readonly #startTime: number;
  /** Whether it is in namespaces of its own; a restored one then has another process ID. */
  readonly #isApart: boolean;
  #ended = false;
  #dumps = 0;
  /** The process and thread IDs at the latest dump. */
  #saved: readonly number[] = [];
  /** For how long the task did not exist, at least and at most, in milliseconds. */
  #gone = { lo: 0, hi: 0 };
  #lastDump: Outcome | undefined;

  private constructor(command: readonly string[], options: StartOptions) {
    this.dir = mkdtempSync(join(tmpdir(), 'stasis-test-'));
    this.cwd = join(this.dir, 'cwd');
    this.#token = randomUUID();
    mkdirSync(this.cwd);
    writeFileSync(join(this.dir, 'ask'), '');
    const input = openSync(options.input ?? join(this.dir, 'ask'), 'r');
    const output = openSync(join(this.dir, 'out'), 'a');
    const errors = openSync(join(this.dir, 'err'), 'a');
    const { words, isApart } = before(options);
    const [file = '', ...args] = [...words, ...command];
    const child = spawn(file, args, {
      cwd: this.cwd,
      detached: true,
      stdio: [input, output, errors],
      env: { PATH: process.env.PATH, HOME: this.cwd, LANG: 'C.UTF-8', STASIS_TEST: this.#token, ...options.env },
    });
    for (const fd of [input, output, errors]) closeSync(fd);
    child.on('error', () => {});
    child.unref();
    this.pid = child.pid ?? 0;
    this.#isApart = isApart || options.startsApart === true;
    this.#startTime = statOf(this.pid)?.starttime ?? -1;
    living.add(this);
  }

  /** Starts a victim of test/victims by name and waits until it is ready. */
  static async start(name: string, args: readonly string[] = [], options: StartOptions = {}): Promise<Victim> {
    return Victim.run([victimBinary(name), ...args], options);
  }

  /** Starts any program. */
  static async run(command: readonly string[], options: StartOptions = {}): Promise<Victim> {
    const victim = new Victim(command, options);
    try {
      if (victim.pid === 0) throw new Error(`cannot start ${command[0]}`);
      if (!options.silent) await victim.waitFor(/^(READY|SKIP|FAIL)/m, options.limitMs ?? 10_000);
      if (victim.#isApart) victim.pid = victim.#only();
      return victim;
    } catch (error) {
      victim[Symbol.dispose]();
      throw error;
    }
  }

  /** The child of the unshare(1) that has made its namespaces. */
  #only(): number {
    const [child] = descendants(this.pid);
    return child?.pid ?? this.#died();
  }

  /** Why the machine cannot run this victim, if it said so. */
  get skipped(): string | undefined {
    return /^SKIP: (.*)$/m.exec(this.output())?.[1];
  }

  /** What it has written to standard output so far. */
  output(): string {
    return readFileSync(join(this.dir, 'out'), 'utf8');
  }

  errors(): string {
    return readFileSync(join(this.dir, 'err'), 'utf8');
  }

  /** Waits for a line on its standard output. */
  waitFor(pattern: RegExp, limitMs: number): Promise<string> {
    return until(
      () => {
        const found = pattern.exec(this.output())?.[0];
        if (found === undefined && this.#over()) {
          // It may have written its last line just before it ended.
          return pattern.exec(this.output())?.[0] ?? this.#died();
        }
        return found;
      },
      limitMs,
      () => `no ${pattern} from process ${this.pid}, only ${JSON.stringify(this.output() + this.errors())}`,
    );
  }

  #died(): never {
    throw new Error(`process ${this.pid} has ended, saying ${JSON.stringify(this.output() + this.errors())}`);
  }

  /** Whether the process is gone, or a zombie. */
  #over(): boolean {
    const stat = statOf(this.pid);
    return stat === undefined || stat.state === 'Z' || stat.state === 'X';
  }

  /** Whether the process is there, is this program, and is no zombie. */
  alive(): boolean {
    return this.pid !== 0 && environmentOf(this.pid).includes(this.#token);
  }

  /** Whether any process, a zombie too, has the process ID. */
  exists(): boolean {
    // The first one is the runtime's to wait for.
    if (this.#dumps > 0) trySyscall('wait4', this.pid, 0, WNOHANG, 0);
    return statOf(this.pid) !== undefined;
  }

  /** Process IDs of the root and of all others that come from it, zombies as well. */
  members(): number[] {
    return [this.pid, ...descendants(this.pid).map(({ pid }) => pid)];
  }

  /** IDs of the threads of all of them but for the first of each. */
  threads(): number[] {
    return this.members().flatMap(otherThreads);
  }

  /** Which of the IDs of the latest dump are in use, by zombies too. Orphans are our children: they are buried. */
  remains(): number[] {
    const others = this.#saved.filter((pid) => pid !== this.pid);
    for (const pid of others) trySyscall('wait4', pid, 0, WNOHANG, 0);
    return [...(this.exists() ? [this.pid] : []), ...others.filter((pid) => statOf(pid) !== undefined)];
  }

  state(): TaskState {
    return readTreeState(this.pid);
  }

  /**
   * Waits until its state can be compared: looks some time apart see the same. One look may fall into a signal handler.
   */
  async settled(): Promise<TaskState> {
    let last = this.state();
    for (let same = 0, looks = 0; same < 3; looks++) {
      await sleep(4);
      const now = this.state();
      same = differences(last, now).length === 0 ? same + 1 : 0;
      last = now;
      if (looks === 200) throw new Error('its state does not settle');
    }
    return last;
  }

  /** Command line of a dump into a new directory. */
  dumpLine(options: readonly string[] = []): string[] {
    this.images = join(this.dir, `images-${++this.#dumps}`);
    mkdirSync(this.images);
    this.#saved = [...this.members(), ...this.threads()];
    return ['dump', '-t', String(this.pid), '-D', this.images, '-o', 'dump.log', '-v4', ...options];
  }

  /** Command line of a restore of the latest dump. */
  restoreLine(options: readonly string[] = []): string[] {
    const pidfile = this.#isApart ? ['--pidfile', this.#pidfile()] : [];
    return ['restore', '-D', this.images, '-o', 'restore.log', '-v4', '-d', ...pidfile, ...options];
  }

  /** Says that a restore is to come of one in a PID namespace of its own, after which its root has another number. */
  forgetPid(): void {
    this.pid = 0;
    rmSync(this.#pidfile(), { force: true });
  }

  #pidfile(): string {
    return join(this.images, 'pid');
  }

  /** Dumps it; it is gone afterwards, unless it is left running. */
  async dump(options: readonly string[] = [], how: RunOptions = {}): Promise<Outcome> {
    const line = this.dumpLine(options);
    const outcome = await stasisOk(line, join(this.images, 'dump.log'), how);
    this.#lastDump = outcome;
    if (options.includes('--leave-running') || options.includes('-R')) this.#gone.hi += outcome.ms;
    else await this.waitGone();
    return outcome;
  }

  /** Waits until the process IDs are free again: the parents have to see that they ended. */
  async waitGone(limitMs = 5000): Promise<void> {
    await until(
      () => (this.remains().length > 0 ? undefined : true),
      limitMs,
      () => `still there: ${this.remains().join(', ')}`,
    );
  }

  async restore(options: readonly string[] = [], how: RunOptions = {}): Promise<Outcome> {
    const outcome = await stasisOk(this.restoreLine(options), join(this.images, 'restore.log'), how);
    if (this.#isApart) this.pid = Number(readFileSync(this.#pidfile(), 'utf8'));
    if (this.#lastDump) {
      this.#gone.lo += outcome.began - this.#lastDump.ended;
      this.#gone.hi += outcome.ended - this.#lastDump.began;
      this.#lastDump = undefined;
    }
    if (!this.alive()) throw new Error(complaint(['restore'], outcome) + this.#wordsAtDeath());
    return outcome;
  }

  #wordsAtDeath(): string {
    return `\nbut process ${this.pid} is not there; it said ${JSON.stringify(this.output() + this.errors())}`;
  }

  /** A dump and a restore. */
  async cycle(options: { dump?: readonly string[]; restore?: readonly string[] } = {}): Promise<void> {
    await this.dump(options.dump);
    await this.restore(options.restore);
  }

  /** Asks for the verdict, and throws unless it is a pass. */
  async verdict(options: { signal?: NodeJS.Signals; limitMs?: number } = {}): Promise<void> {
    const { lo, hi } = this.#gone;
    appendFileSync(join(this.dir, 'ask'), `ask ${Math.floor(lo)} ${Math.ceil(hi)}\n`);
    if (options.signal && this.alive()) process.kill(this.pid, options.signal);
    const said = await this.waitFor(/^(PASS|FAIL.*)$/m, options.limitMs ?? 10_000);
    if (said !== 'PASS') throw new Error(said);
  }

  /** Ends the process and all that come from it, if they are still those we started. */
  kill(): void {
    if (this.pid === 0) return;
    // Before its exec it has not the environment that we know it by.
    if (statOf(this.pid)?.starttime === this.#startTime) trySyscall('kill', this.pid, SIGKILL);
    // None is to see another one go.
    for (const pid of bearersOf(this.#token)) trySyscall('kill', pid, SIGSTOP);
    // One may have had a child while we looked.
    for (let looks = 0, left = [0]; looks < 500 && left.length > 0; looks++) {
      left = bearersOf(this.#token);
      for (const pid of left) trySyscall('kill', pid, SIGKILL);
    }
    this.remains();
  }

  /** Ends the processes, and removes the directory and what the dumps have left in the packet filters. */
  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    this.kill();
    living.delete(this);
    // A dump that nobody restores leaves its network lock.
    removeTables(this.dir);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Lets a victim go on for a while. */
export const goOn = (ms = 40): Promise<void> => sleep(ms);
