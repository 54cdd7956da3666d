/**
 * Everything that can be seen of a tree: from outside, by /proc and kcmp, and from inside, by what its members report
 * of themselves (test/victims/random-tree.c). In one map of texts, without what may differ after a restore: numbers of
 * pipes and sockets are replaced by names in the order in which they are met.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { trySyscall } from '../../../src/kernel/syscall.ts';
import type { TaskState } from './state.ts';
import { readTreeState, statOf } from './tree.ts';
import { until } from './until.ts';

/** Where things stand in the file "control": struct Control and Slot of random-tree.h. */
const FIRST_SLOT = 4096;
const SLOT = 64 * 1024;
const TEXT = 16;
const DONE = 4;
const KIND = 8;
const LENGTH = 12;
/** The report that ends a member: what signals wait. */
export const LAST = 1_000_000;

/** A member that is to run, to be stopped, or to be a zombie. */
interface Member {
  readonly pid: number;
  readonly done: number;
  readonly kind: string;
  readonly report: string;
}

/** A victim that is a random tree, by the directory it was started in and its first process. */
export class RandomTree {
  readonly #control: string;
  readonly #root: number;
  #asked = 1;

  constructor(cwd: string, root: number) {
    this.#control = join(cwd, 'control');
    this.#root = root;
  }

  /** A look from inside and outside at once. Throws if a member does not answer. */
  async look(): Promise<TaskState> {
    this.#asked++;
    const view = new Map<string, string>();
    for (const { pid, kind, report } of await this.#ask(this.#asked)) {
      if (kind !== 'r') continue;
      for (const [name, value] of linesOf(report)) view.set(`member ${pid} ${name}`, value);
    }
    for (const [name, value] of readTreeState(this.#root)) view.set(name, withoutNumbers(name, value));
    addObjects(this.#members(), view);
    return view;
  }

  /** The signals that wait, as the members take them: what each says, by its process ID. They do nothing afterwards. */
  async lastWords(): Promise<ReadonlyMap<number, string>> {
    const members = await this.#ask(LAST);
    return new Map(members.filter(({ kind }) => kind === 'r').map(({ pid, report }) => [pid, report]));
  }

  async #ask(report: number): Promise<Member[]> {
    const fd = openSync(this.#control, 'r+');
    const word = Buffer.alloc(4);
    word.writeInt32LE(report);
    writeSync(fd, word, 0, 4, 0);
    closeSync(fd);
    await until(
      () => (this.#members().every((member) => isReady(member, report)) ? true : undefined),
      20_000,
      () => `these do not answer: ${this.#waitedFor(report)}`,
    );
    return this.#members();
  }

  #waitedFor(report: number): string {
    const late = this.#members().filter((member) => !isReady(member, report));
    return late.map(({ pid, done, kind }) => `${pid} (${kind}, at ${done}, ${statOf(pid)?.state})`).join(', ');
  }

  #members(): Member[] {
    const fd = openSync(this.#control, 'r');
    const head = Buffer.alloc(8);
    readSync(fd, head, 0, 8, 0);
    const slot = Buffer.alloc(SLOT);
    const members = Array.from({ length: head.readInt32LE(4) }, (_, i) => {
      readSync(fd, slot, 0, SLOT, FIRST_SLOT + i * SLOT);
      return {
        pid: slot.readInt32LE(0),
        done: slot.readInt32LE(DONE),
        kind: String.fromCharCode(slot.readInt32LE(KIND)),
        report: slot.toString('latin1', TEXT, TEXT + slot.readInt32LE(LENGTH)),
      };
    });
    closeSync(fd);
    return members;
  }
}

function isReady({ pid, done, kind }: Member, report: number): boolean {
  const state = statOf(pid)?.state;
  if (kind === 'z') return state === 'Z';
  return kind === 's' ? state === 'T' : done === report;
}

/** The lines "name: value" of a report. */
function linesOf(report: string): [name: string, value: string][] {
  return report
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const colon = line.indexOf(': ');
      return [line.slice(0, colon), line.slice(colon + 2)];
    });
}

/** What is only the kernel's number of something, or an order nobody can rely on. */
function withoutNumbers(name: string, value: string): string {
  // `ac`: that memory which cannot be written to was accounted, as it could be once, means nothing but in the sum.
  // `gu`: that there was a guard page once; where there are some now, the members see.
  if (/(^|process \d+ )map /.test(name))
    return value
      .replace(/^(.-.*) ac\b/, '$1')
      .replace(/ gu\b/, '')
      .replace(/ \w+:\w+:\d+ (?=.*\(deleted\))/, ' (new) ');
  if (!/(^|process \d+ )fd \d+$/.test(name)) return value;
  const deleted = value.includes('(deleted)');
  const parts = value.split(' | ').map((part) => {
    const target = part.replace(/\b(tfd:.*data: +\w+).*/, '$1');
    // O_LARGEFILE means nothing to a program of 64 bits; a terminal opened with TIOCGPTPEER lacks it.
    if (part.startsWith('flags:'))
      return `flags: ${(Number.parseInt(part.slice(6).trim(), 8) & ~0o100000).toString(8)}`;
    return deleted ? target.replace(/^(lock:.* \w+:\w+:)\d+/, '$1(new)') : target;
  });
  const head = parts.filter((part) => !/^(tfd|lock):/.test(part));
  const lists = parts
    .filter((part) => /^(tfd|lock):/.test(part))
    .map((part) =>
      part
        .replace(/^lock:\t\d+: ((?:FLOCK|LEASE) .* )\d+( \w+:)/, 'lock: $1(taker)$2')
        .replace(/^lock:\t\d+: /, 'lock: '),
    );
  return [...head, ...lists.sort()].join(' | ');
}

const KCMP = { FILE: 0, VM: 1, FILES: 2, FS: 3, SIGHAND: 4, SYSVSEM: 6 } as const;

/** Which pipes and sockets descriptors lead to, which are one open file, and what processes share. */
function addObjects(members: readonly Member[], view: Map<string, string>): void {
  const alive = members.filter(({ pid, kind }) => kind !== 'z' && statOf(pid) !== undefined);
  const names = new Map<string, string>();
  const files: { pid: number; fd: number }[] = [];
  for (const { pid } of alive) {
    view.set(`timers of ${pid}`, readFileSync(`/proc/${pid}/timers`, 'latin1'));
    view.set(`I/O priority of ${pid}`, String(trySyscall('ioprio_get', 1, pid)));
    for (const fd of numbersIn(`/proc/${pid}/fd`)) {
      files.push({ pid, fd });
      const link = readlinkSync(`/proc/${pid}/fd/${fd}`, 'latin1');
      const numbered = /^(pipe|socket):/.exec(link)?.[1];
      if (numbered && !names.has(link)) names.set(link, `${numbered}#${names.size}`);
      if (numbered) view.set(`object of ${pid} fd ${fd}`, names.get(link) ?? '');
    }
  }
  for (const { pid, fd } of files) {
    const first = files.find((file) => same(KCMP.FILE, file.pid, pid, file.fd, fd));
    view.set(`file of ${pid} fd ${fd}`, `that of ${first?.pid} fd ${first?.fd}`);
  }
  for (const kind of ['VM', 'FILES', 'FS', 'SIGHAND', 'SYSVSEM'] as const) {
    for (const { pid } of alive) {
      const first = alive.find((other) => same(KCMP[kind], other.pid, pid, 0, 0));
      view.set(`${kind} of ${pid}`, `that of ${first?.pid}`);
    }
  }
}

function same(type: number, a: number, b: number, fdOfA: number, fdOfB: number): boolean {
  return trySyscall('kcmp', a, b, type, fdOfA, fdOfB) === 0;
}

function numbersIn(directory: string): number[] {
  return readdirSync(directory)
    .map(Number)
    .sort((a, b) => a - b);
}
