/**
 * The promises for trees with sockets, rings of io_uring and network devices: after a failed dump every queue,
 * connection, device and rule is as it was; after a failed restore nothing is left.
 */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  allFree,
  duration,
  HARM,
  isThere,
  keepFiles,
  moments,
  nothingLeft,
  type Occasion,
  occasions,
  stasisKilled,
  type Traces,
  traces,
  withFailure,
} from './kit/harm.ts';
import { addressesIn, allAddresses, devicesOf, type NetworkState, networkState } from './kit/network.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { type Outcome, stasis, stasisOk } from './kit/stasis.ts';
import { differences } from './kit/state.ts';
import { hasTable, tableOfDump, tablesBy } from './kit/tables.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

interface Row {
  readonly victim: string;
  readonly args?: readonly string[];
  /** Options for dump and restore. */
  readonly options?: readonly string[];
  /** What it holds may change while it runs: only the victim itself says that it is well. */
  readonly changes?: true;
  /**
   * The restores of the sweeps fail at their end. A connection that was restored and is ended with its process leaves
   * the kernel with one that waits for its end (TIME_WAIT), in the way of the next restore; a device is gone then.
   */
  readonly failing?: true;
  /** Files that it makes and removes again as it runs: if it is killed in between, they are in the way of the next. */
  readonly passing?: RegExp;
}

const ROWS: readonly Row[] = [
  { victim: 'uring' },
  { victim: 'uringtasks' },
  { victim: 'uringpolled' },
  { victim: 'tun', failing: true },
  { victim: 'datagrams', args: ['full'] },
  { victim: 'netlinks' },
  { victim: 'packetsocks' },
  { victim: 'unixpairs' },
  { victim: 'unixdgrams', changes: true, passing: /\/leaver$/ },
  { victim: 'tcpstates', args: ['4'], options: ['--tcp-established'], changes: true, failing: true },
];

/** How often Stasis is killed for each row, and how many of its calls fail. */
const KILLS = Math.ceil(HARM / 8);
const FAILURES = Math.ceil(HARM / 4);
const LONG = 90_000 + HARM * 3000;

/** A victim of a row, and the devices it has made, which are removed with it. */
class Subject implements Disposable {
  readonly victim: Victim;
  readonly row: Row;
  #putFilesBack = (): void => {};

  private constructor(victim: Victim, row: Row) {
    this.victim = victim;
    this.row = row;
  }

  static async of(row: Row): Promise<Subject | undefined> {
    const victim = await Victim.start(row.victim, row.args);
    if (!victim.skipped) {
      await goOn();
      return new Subject(victim, row);
    }
    console.log(`skipped, ${row.victim}: ${victim.skipped}`);
    victim[Symbol.dispose]();
    return undefined;
  }

  get dumpLine(): string[] {
    return this.victim.dumpLine([...(this.row.options ?? [])]);
  }

  get runningLine(): string[] {
    return this.victim.dumpLine(['--leave-running', ...(this.row.options ?? [])]);
  }

  /** Of a restore that a sweep makes. */
  get restoreLine(): string[] {
    const failing = this.row.failing ? ['--pidfile', '/nowhere/pid'] : [];
    return this.victim.restoreLine([...(this.row.options ?? []), ...failing]);
  }

  async dump(): Promise<Outcome> {
    const outcome = await this.victim.dump(this.row.options);
    this.#putFilesBack = keepFiles(this.victim.cwd);
    return outcome;
  }

  restore(): Promise<Outcome> {
    return this.victim.restore(this.row.options);
  }

  /** The sockets and devices it has, once looks some time apart see the same. */
  async network(): Promise<NetworkState> {
    let last = networkState(this.victim);
    for (let look = 0, same = 0; look < 100 && same < 3; look++) {
      await goOn(5);
      const now = networkState(this.victim);
      same = differences(last, now).length === 0 ? same + 1 : 0;
      last = now;
    }
    return last;
  }

  /** Throws unless it goes on and has what it had. It looks at all that it has itself, every few milliseconds. */
  async unharmed(before: NetworkState, note: string): Promise<void> {
    const { victim, row } = this;
    const said = victim.output();
    expect(said, note).not.toContain('FAIL');
    expect(victim.alive(), `${note}; it said ${said}`).toBe(true);
    await allFree([...victim.members(), ...victim.threads()]);
    await goOn(20);
    expect(victim.output(), note).not.toContain('FAIL');
    const left = (): string[] => {
      const now = networkState(victim);
      // What it opens for a moment, to look at itself, is no difference.
      const changes = differences(before, now).filter((line) => !line.includes('was not there'));
      return row.changes ? changes.filter((line) => line.includes('is not there')) : changes;
    };
    await until(
      () => (left().length === 0 ? true : undefined),
      5000,
      () => `${note}: ${left().join('\n')}`,
    );
  }

  /** After a restore: it is there and well, and is ended for the next time; or nothing is there. */
  async allOrNothing(before: NetworkState, note: string): Promise<boolean> {
    const { victim } = this;
    const there = await isThere(victim);
    if (there) {
      await allFree([...victim.members(), ...victim.threads()]);
      await goOn(20);
      expect(victim.output(), note).not.toContain('FAIL');
      victim.kill();
      await victim.waitGone();
    } else {
      await nothingLeft(victim, note);
    }
    // What a restored one has written is not what the images know, and would puzzle the next.
    this.#putFilesBack();
    this.#removePassing();
    const own = addressesIn(before);
    const left = (): string[] => [...allAddresses()].filter((address) => own.has(address));
    await until(
      () => (left().length === 0 ? true : undefined),
      3000,
      () => `${note}: sockets are left at ${left().join(', ')}`,
    );
    return there;
  }

  #removePassing(): void {
    const paths = readdirSync(this.victim.cwd).map((name) => join(this.victim.cwd, name));
    for (const path of paths) if (this.row.passing?.test(path)) rmSync(path);
  }

  /** What a restore may leave, without what the victim itself may have. */
  traces(): Traces {
    const { mounts, files } = traces(this.victim);
    const names = files.split('\n').filter((name) => !this.row.passing?.test(name));
    return { mounts, files: names.join('\n') };
  }

  [Symbol.dispose](): void {
    this.victim[Symbol.dispose]();
    for (const device of devicesOf(this.victim))
      spawnSync('ip', ['link', 'delete', device.split(' ')[0] ?? ''], { stdio: 'ignore' });
  }
}

/** What restores of a victim leave on the machine: its files, devices and the network lock of its dump. */
class Machine {
  readonly #subject: Subject;
  readonly #table: string | undefined;
  readonly #hasLock: boolean;
  readonly #devices: string[];
  #clean: Traces | undefined;

  /** Notes the lock and the devices, when the victim has just been dumped. */
  constructor(subject: Subject) {
    this.#subject = subject;
    this.#table = tableOfDump(subject.victim.images);
    this.#hasLock = hasTable(this.#table);
    this.#devices = devicesOf(subject.victim);
  }

  /** Notes the traces that one restore leaves: further ones are to leave the same. */
  noteTraces(): void {
    this.#clean = this.#subject.traces();
  }

  /** Expects that a restore has changed nothing. `part` is of the traces, those that are compared. */
  expectAsBefore(note: string, part: (all: Traces) => Traces = (all) => all): void {
    const { victim, row } = this.#subject;
    expect<Traces | undefined>(part(this.#subject.traces()), note).toEqual(this.#clean);
    // One that has come far enough removes the lock.
    if (row.failing) expect(hasTable(this.#table), note).toBe(this.#hasLock);
    expect(devicesOf(victim), note).toEqual(this.#devices);
  }

  /** Expects that the victim can be restored, which leaves no lock, and finds nothing wrong. */
  async expectRestorable(): Promise<void> {
    await this.#subject.restore();
    expect<Traces | undefined>(this.#subject.traces()).toEqual(this.#clean);
    expect(tablesBy()).toEqual([]);
    expect(hasTable(this.#table)).toBe(false);
    await this.#subject.victim.verdict();
  }
}

const words = (moment: number, span: number): string => `killed after ${moment.toFixed(1)} of ${span.toFixed(1)} ms`;

function told({ call, when, of }: Occasion, outcome: Outcome): string {
  return `${call} number ${when} of ${of} fails; ${outcome.stderr.slice(-300)}`;
}

/**
 * Without the directories in which sockets get their names: nobody removes that of a Stasis that was killed before the
 * next restore does.
 */
function withoutStaging({ mounts, files }: Traces): Traces {
  const names = files.split('\n').filter((name) => !/\/\.stasis-unix-\d+(\.removed)?$/.test(name));
  return { mounts, files: names.join('\n') };
}

/** Some of a list, at random. */
function some<T>(list: readonly T[], count: number): T[] {
  return [...list].sort(() => Math.random() - 0.5).slice(0, count);
}

describe.each(ROWS.map((row) => [[row.victim, ...(row.args ?? [])].join(' '), row] as const))('%s', (_, row) => {
  test(
    'SIGKILL to Stasis at any moment of a dump that leaves it running',
    async () => {
      using subject = await Subject.of(row);
      if (!subject) return;
      const before = await subject.network();
      const span = await duration(() => stasisOk(subject.runningLine));
      for (const moment of moments(KILLS, span * 1.25)) {
        await stasisKilled(subject.runningLine, moment);
        await subject.unharmed(before, words(moment, span));
      }
      // What is left of those that died inside must not be in the way of the next.
      await stasisOk(subject.runningLine);
      expect(tablesBy()).toEqual([]);
      await subject.victim.verdict();
    },
    LONG,
  );

  test(
    'SIGKILL to Stasis at any moment of a dump that ends it',
    async () => {
      using subject = await Subject.of(row);
      if (!subject) return;
      const { victim } = subject;
      let before = await subject.network();
      const span = await duration(() => stasisOk(subject.runningLine));
      let ended = 0;
      for (const moment of moments(KILLS, span * 1.4)) {
        const { signal } = await stasisKilled(subject.dumpLine, moment);
        if (signal) await goOn(100); // the kernel may be about to kill it
        if (victim.alive()) {
          await subject.unharmed(before, words(moment, span));
          continue;
        }
        ended++;
        await victim.waitGone();
        expect(existsSync(join(victim.images, 'inventory.img')), words(moment, span)).toBe(true);
        const table = tableOfDump(victim.images);
        await subject.restore();
        expect(hasTable(table), words(moment, span)).toBe(false);
        await goOn();
        before = await subject.network();
      }
      await stasisOk(subject.runningLine);
      expect(tablesBy()).toEqual([]);
      await victim.verdict();
      console.log(`${row.victim}: ended and restored ${ended} of ${KILLS}`);
    },
    LONG,
  );

  test(
    'SIGKILL to Stasis at any moment of a restore',
    async () => {
      using subject = await Subject.of(row);
      if (!subject) return;
      const { victim } = subject;
      const before = await subject.network();
      await subject.dump();
      const machine = new Machine(subject);
      const span = await duration(() =>
        stasis(subject.restoreLine).finally(() => subject.allOrNothing(before, 'whole')),
      );
      machine.noteTraces();
      let lived = 0;
      for (const moment of moments(KILLS, span * (row.failing ? 0.95 : 1.25))) {
        await stasisKilled(subject.restoreLine, moment, victim.dir);
        if (await subject.allOrNothing(before, words(moment, span))) lived++;
        machine.expectAsBefore(words(moment, span), withoutStaging);
      }
      await machine.expectRestorable();
      console.log(`${row.victim}: restored before the kill ${lived} of ${KILLS}`);
    },
    LONG,
  );

  test(
    'any system call of Stasis may fail in a dump',
    async () => {
      using subject = await Subject.of(row);
      if (!subject) return;
      const { victim } = subject;
      const before = await subject.network();
      const all = await occasions(subject.runningLine, 1, victim);
      let failed = 0;
      for (const occasion of some(all, FAILURES)) {
        const outcome = await withFailure(victim, subject.runningLine, occasion, 'EIO');
        if (outcome.status !== 0) failed++;
        await subject.unharmed(before, told(occasion, outcome));
      }
      expect(tablesBy()).toEqual([]);
      await victim.verdict();
      console.log(`${row.victim}: dumps that ended with an error ${failed} of ${FAILURES}`);
    },
    LONG,
  );

  test(
    'any system call of Stasis may fail in a restore',
    async () => {
      using subject = await Subject.of(row);
      if (!subject) return;
      const { victim } = subject;
      const before = await subject.network();
      await subject.dump();
      const machine = new Machine(subject);
      const all = await occasions(subject.restoreLine, 1, victim);
      await subject.allOrNothing(before, 'under strace');
      machine.noteTraces();
      let failed = 0;
      for (const occasion of some(all, FAILURES)) {
        const outcome = await withFailure(victim, subject.restoreLine, occasion, 'EIO');
        const note = told(occasion, outcome);
        const lives = await subject.allOrNothing(before, note);
        if (!lives) failed++;
        if (outcome.status === 0) expect(lives, `${note}; it said ${victim.output()}`).toBe(true);
        machine.expectAsBefore(note);
      }
      await machine.expectRestorable();
      console.log(`${row.victim}: restores that left nothing ${failed} of ${FAILURES}`);
    },
    LONG,
  );

  test('a full disk', async () => {
    using subject = await Subject.of(row);
    if (!subject) return;
    const { victim } = subject;
    const before = await subject.network();
    for (const size of ['12k', '40k']) {
      using small = new SmallDisk(victim.dir, size);
      const line = ['dump', '-t', String(victim.pid), '-D', small.dir, '-W', victim.dir, '-o', 'full.log'];
      const outcome = await stasis([...line, ...(row.options ?? [])]);
      expect(outcome.status, size).not.toBe(0);
      expect(outcome.stderr).toMatch(/ENOSPC|no space left/i);
      expect(existsSync(join(small.dir, 'inventory.img'))).toBe(false);
      await subject.unharmed(before, `a disk of ${size}`);
    }
    await victim.verdict();
  }, 60_000);
});

test(
  'a name that cannot be given back fails the restore',
  async () => {
    using subject = await Subject.of({ victim: 'unixdgrams', passing: /\/leaver$/ });
    if (!subject) return;
    const before = await subject.network();
    await subject.dump();
    const all = await occasions(subject.restoreLine, 50, subject.victim);
    await subject.allOrNothing(before, 'under strace');
    for (const occasion of all.filter(({ call }) => call === 'bind')) {
      const outcome = await withFailure(subject.victim, subject.restoreLine, occasion, 'EIO');
      expect(outcome.status, told(occasion, outcome)).toBe(1);
      await subject.allOrNothing(before, told(occasion, outcome));
    }
  },
  LONG,
);

test(
  'what cannot be removed at once is removed all the same',
  async () => {
    using subject = await Subject.of({ victim: 'unixdgrams', passing: /\/leaver$/ });
    if (!subject) return;
    const before = await subject.network();
    await subject.dump();
    const machine = new Machine(subject);
    const all = await occasions(subject.restoreLine, 50, subject.victim);
    await subject.allOrNothing(before, 'under strace');
    machine.noteTraces();
    for (const occasion of all.filter(({ call }) => call === 'unlinkat')) {
      const outcome = await withFailure(subject.victim, subject.restoreLine, occasion, 'EIO');
      await subject.allOrNothing(before, told(occasion, outcome));
      machine.expectAsBefore(told(occasion, outcome));
    }
  },
  LONG,
);
