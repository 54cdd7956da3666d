/**
 * A whole tree under test: a program that has children, or threads, or both. Dumped and restored by its root, waited
 * for to its exit status, and ended by process IDs whatever happens.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ProcStat, parseStat } from '../../../src/kernel/proc/stat.ts';
import { arenaAddress, arenaView, trySyscall } from '../../../src/kernel/syscall.ts';
import { strays } from './harm.ts';
import { until } from './until.ts';
import { type StartOptions, Victim } from './victim.ts';

const WNOHANG = 1;

/** Ends the families that are left if the tests themselves are ended, by the time limit of their file too. */
const living = new Set<Family>();
process.on('exit', () => {
  for (const family of living) family.kill();
});
process.on('SIGTERM', () => process.exit(143));

export interface CycleOptions {
  readonly dump?: readonly string[];
  readonly restore?: readonly string[];
  /** Milliseconds for each of the two commands (60,000). */
  readonly limitMs?: number;
}

export class Family implements Disposable {
  /** The root, and the directory of this run. */
  readonly root: Victim;
  /** In the environment of all. */
  readonly #mark: string;
  #restored = false;

  private constructor(root: Victim, mark: string) {
    this.root = root;
    this.#mark = mark;
    living.add(this);
  }

  /** Starts any program. Its family is known by the environment, or by a working directory in the place of this run. */
  static async run(command: readonly string[], options: StartOptions = {}): Promise<Family> {
    const mark = `STASIS_FAMILY=${randomUUID()}`;
    const env = { ...options.env, STASIS_FAMILY: mark.slice(mark.indexOf('=') + 1) };
    return new Family(await Victim.run(command, { ...options, env }), mark);
  }

  /** The living, without zombies. */
  members(): number[] {
    const all = new Set(strays(this.root));
    for (const pid of processes()) if (pid !== process.pid && this.#isOurs(pid)) all.add(pid);
    return [...all];
  }

  #isOurs(pid: number): boolean {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(this.#mark);
    } catch {
      return false; // it has ended meanwhile
    }
  }

  /** Dumps the tree, waits until all its process IDs are free, and restores it. */
  async cycle(options: CycleOptions = {}): Promise<void> {
    const how = { limitMs: options.limitMs ?? 60_000 };
    await this.root.dump(options.dump, how);
    await this.#buried();
    await this.root.restore(options.restore, how);
    this.#restored = true;
  }

  /** Waits until nothing is left of the tree, zombies neither: those have become our children. */
  #buried(): Promise<true> {
    return until(
      () => (bury(this.root.pid) === 0 && this.members().length === 0 ? true : undefined),
      5000,
      () => `still there: ${this.members().join(', ')}, and zombies`,
    );
  }

  /**
   * Waits for the end of the root and answers its exit status, or minus the signal that ended it. It has to have been
   * restored: before, it is the runtime's child.
   */
  async exitStatus(limitMs: number): Promise<number> {
    if (!this.#restored) throw new Error('a program that was never restored is not ours to wait for');
    const status = await until(
      () => reap(this.root.pid),
      limitMs,
      () => `process ${this.root.pid} goes on`,
    );
    return (status & 0x7f) === 0 ? status >> 8 : -(status & 0x7f);
  }

  /** Ends all of them. */
  kill(): void {
    // A member may have had a child while we looked.
    for (let look = 0, calm = 0; calm < 2 && look < 100; look++) {
      const members = this.members();
      for (const pid of members) trySyscall('kill', pid, 9);
      bury(this.#restored ? 0 : this.root.pid);
      calm = members.length === 0 ? calm + 1 : 0;
    }
  }

  /** Ends all of them and removes the directory. */
  [Symbol.dispose](): void {
    this.kill();
    living.delete(this);
    this.root[Symbol.dispose]();
  }
}

/** The wait status of a child of ours that has ended; undefined as long as it lives. */
function reap(pid: number): number | undefined {
  const got = trySyscall('wait4', pid, arenaAddress, WNOHANG, 0);
  if (got < 0) throw new Error(`process ${pid} is not our child`);
  return got === pid ? arenaView.getInt32(0, true) : undefined;
}

/** Reaps orphans that became our children, but for one that is the runtime's to wait for; how many are left. */
function bury(runtimes: number): number {
  let left = 0;
  for (const pid of processes()) {
    const stat = statOf(pid);
    if (stat?.ppid !== process.pid || stat.state !== 'Z' || stat.pid === runtimes) continue;
    if (trySyscall('wait4', stat.pid, 0, WNOHANG, 0) !== stat.pid) left++;
  }
  return left;
}

function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function statOf(pid: number): ProcStat | undefined {
  try {
    return parseStat(readFileSync(join('/proc', String(pid), 'stat')));
  } catch {
    return undefined;
  }
}
