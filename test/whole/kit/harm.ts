/** What the tests of the promises share: ending Stasis at a bad moment, and looking for what it left behind. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Outcome, run, stasis, stasisCommand } from './stasis.ts';
import { differences, type TaskState } from './state.ts';
import { sleep, until } from './until.ts';
import type { Victim } from './victim.ts';

/** How often a test does its harm: `STASIS_HARM=400` for the proof, few for every day. */
export const HARM = Number(process.env.STASIS_HARM ?? 24);

/** Runs Stasis and kills it after `ms` milliseconds, unless it has ended before. */
export function stasisKilled(args: readonly string[], ms: number, cwd?: string): Promise<Outcome> {
  return stasis(args, { limitMs: ms, ...(cwd ? { cwd } : {}) });
}

/** Moments spread over `span` milliseconds: one at random in each of `count` slices, in random order. */
export function moments(count: number, span: number): number[] {
  const all = Array.from({ length: count }, (_, i) => ((i + Math.random()) / count) * span);
  return all.sort(() => Math.random() - 0.5);
}

/** Waits until a task is nobody's: not traced, not stopped. Throws if it does not come free. */
export function free(pid: number): Promise<true> {
  return allFree([pid]);
}

/** Waits until none of some tasks is traced or stopped. Throws if one does not come free. */
export function allFree(ids: readonly number[]): Promise<true> {
  return until(
    () => (ids.some(held) ? undefined : true),
    5000,
    () => `still held: ${ids.filter(held).join(', ')}`,
  );
}

function held(id: number): boolean {
  return traced(id) || /^State:\t[tT]/m.test(statusOf(id));
}

/** Waits until none of some tasks is traced; they may be stopped, or zombies. */
export function untraced(ids: readonly number[]): Promise<true> {
  return until(
    () => (ids.some(traced) ? undefined : true),
    5000,
    () => `still traced: ${ids.filter(traced).join(', ')}`,
  );
}

/** Whether a task has a tracer. */
export function traced(id: number): boolean {
  return /^TracerPid:\t[1-9]/m.test(statusOf(id));
}

/** Empty of one that is gone: threads of io_uring come and go, and nobody holds them then. */
function statusOf(id: number): string {
  try {
    return readFileSync(`/proc/${id}/status`, 'latin1');
  } catch {
    return '';
  }
}

/** The count of a `sturdy` victim's turns. */
export function turns(victim: Victim): bigint {
  return readFileSync(join(victim.cwd, 'progress')).readBigUInt64LE();
}

/** Waits until a `sturdy` victim has gone on for a few turns. */
export async function goesOn(victim: Victim): Promise<void> {
  const before = turns(victim);
  await until(
    () => (turns(victim) > before + 2n ? true : undefined),
    3000,
    () => `process ${victim.pid} does not go on; it said ${victim.output()}`,
  );
}

/** Turns of all members of a victim that is a family, by process ID (test/victims/family.h). */
export function beats(victim: Victim): Map<number, bigint> {
  const file = readFileSync(join(victim.cwd, 'family'));
  const slots = Array.from({ length: file.readInt32LE() }, (_, i) => 4096 + 64 * i);
  return new Map(slots.map((at) => [file.readInt32LE(at + 8), file.readBigUInt64LE(at)]));
}

/** Waits until all members of a family have gone on for a few turns. */
export async function allGoOn(victim: Victim): Promise<void> {
  const before = beats(victim);
  const idle = (): number[] => {
    const now = beats(victim);
    return [...before].filter(([pid, turns]) => (now.get(pid) ?? 0n) < turns + 2n).map(([pid]) => pid);
  };
  await until(
    () => (idle().length === 0 ? true : undefined),
    10_000,
    () => `these do not go on: ${idle().join(', ')}; they said ${victim.output()}`,
  );
}

/** Largest mapping a Stasis that was killed may leave in a task that lives on. */
const LITTLE = 1 << 20;

/**
 * Throws if the state of a task has changed, and stays so: one look may fall into a signal handler. What a killed
 * Stasis may leave is one small mapping.
 */
export async function unharmed(before: TaskState, victim: Victim): Promise<void> {
  let changes: string[] = [];
  await until(
    () => {
      changes = differences(before, victim.state()).filter((line) => !isLittle(line));
      return changes.length === 0 ? true : undefined;
    },
    5000,
    () => changes.join('\n'),
  );
}

function isLittle(line: string): boolean {
  const range = /^(?:process \d+ )?map ([0-9a-f]+)-([0-9a-f]+): was not there/.exec(line);
  if (!range) return false;
  return Number.parseInt(range[2] ?? '', 16) - Number.parseInt(range[1] ?? '', 16) <= LITTLE;
}

/** What a restore could leave on the machine besides a task. */
export interface Traces {
  readonly mounts: string;
  readonly files: string;
}

/** Looks at the mounts, and at the files of the places a victim and Stasis use. */
export function traces(victim: Victim): Traces {
  const files = [victim.cwd, '/tmp', '/dev/shm', '/run'].flatMap((place) =>
    readdirSync(place).map((name) => join(place, name)),
  );
  // Other tests and programs come and go in the common places: theirs have other names.
  const ours = files.filter((path) => path.startsWith(victim.dir) || /stasis|criu/.test(path)).filter(notTests);
  return { mounts: mountsOfOurs(), files: ours.sort().join('\n') };
}

/** Without those that `ip netns` makes, for other tests and programs: Stasis mounts nothing there. */
function mountsOfOurs(): string {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.filter((line) => !/ \/run\/netns/.test(line)).join('\n');
}

function notTests(path: string): boolean {
  // Made by mkdtemp(), and by CRIU's own tests.
  return !/^\/(tmp|dev\/shm)\/(stasis-[a-z0-9-]+-[A-Za-z0-9]{6}|criu-root-\w+)$/.test(path);
}

/**
 * Processes that are there because of a restore of this victim, and are not of it: seeds too, for Stasis is run in the
 * victim's directory by these tests, and so are they.
 */
export function strays(victim: Victim): number[] {
  const members = new Set(victim.alive() ? victim.members() : [victim.pid]);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isStray(pid, members, victim.dir));
}

function isStray(pid: number, members: ReadonlySet<number>, dir: string): boolean {
  try {
    if (members.has(pid)) return /memfd:stasis/.test(readlinkSync(`/proc/${pid}/exe`));
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(dir);
  } catch {
    return false;
  }
}

/**
 * Whether a victim is there after a restore that may have failed or been killed, once what Stasis has had in its hands
 * has ended or been let go: that takes the kernel a moment.
 */
export async function isThere(victim: Victim): Promise<boolean> {
  await sleep(20);
  const busy = (): number[] => (victim.alive() ? [...strays(victim), ...victim.members().filter(traced)] : []);
  await until(
    () => (busy().length === 0 ? true : undefined),
    3000,
    () => `beside of process ${victim.pid}, or with a tracer, there are ${busy().join(', ')}`,
  );
  return victim.alive();
}

/** Keeps the contents of the files in a directory. Returns a function that puts them back, into the same files. */
export function keepFiles(directory: string): () => void {
  const kept = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => ({ path: join(directory, name), bytes: readFileSync(join(directory, name)) }));
  return () => {
    for (const { path, bytes } of kept) {
      if (!readFileSync(path).equals(bytes)) writeFileSync(path, bytes);
    }
  };
}

/** Waits until no process is left of a restore that failed; `note` says of which. */
export function nothingLeft(victim: Victim, note = ''): Promise<true> {
  const left = (): number[] => [...strays(victim), ...victim.remains().filter((pid) => !isForeign(pid, victim))];
  return until(
    () => (left().length === 0 ? true : undefined),
    3000,
    () => `left behind: ${left().join(', ')}; ${note}`,
  );
}

/** Whether a process ID serves somebody else by now, who is no zombie and works in another place. */
function isForeign(pid: number, victim: Victim): boolean {
  try {
    return !readlinkSync(`/proc/${pid}/cwd`).startsWith(victim.dir);
  } catch {
    return false;
  }
}

/** How long a command line takes, the median of three, in milliseconds. */
export async function duration(work: () => Promise<Outcome>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 3; i++) times.push((await work()).ms);
  return times.sort((a, b) => a - b)[1] ?? 0;
}

/** How often Stasis makes each system call in a run: `strace -c` of its main thread, the one that works. */
async function callCounts(args: readonly string[], file: string): Promise<Map<string, number>> {
  await run(['strace', '-c', '-U', 'name,calls', '-o', file, ...stasisCommand(), ...args]);
  const counts = new Map<string, number>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [name = '', calls = ''] = line.trim().split(/\s+/);
    if (/^\w+$/.test(name) && /^\d+$/.test(calls)) counts.set(name, Number(calls));
  }
  counts.delete('total');
  return counts;
}

/** One occasion for a system call to fail. */
export interface Occasion {
  readonly call: string;
  readonly when: number;
  readonly of: number;
}

/**
 * Occasions for calls to fail in a run of Stasis: `each` for every kind of call it makes, at random. Not those of the
 * runtime while it starts: what comes of these is not ours.
 */
export async function occasions(args: readonly string[], each: number, victim: Victim): Promise<Occasion[]> {
  const file = join(victim.dir, 'counts');
  const starting = await callCounts(['--version'], file);
  const whole = await callCounts(args, file);
  const all: Occasion[] = [];
  for (const [call, of] of whole) {
    if (RUNTIME.test(call)) continue;
    const first = starting.get(call) ?? 0;
    const some = moments(Math.min(each, of - first), of - first).map((at) => first + Math.floor(at) + 1);
    for (const when of new Set(some)) all.push({ call, when, of });
  }
  return all;
}

/** Memory and threads of the runtime, and calls that cannot fail. */
const RUNTIME =
  /^(mmap|munmap|mprotect|madvise|brk|futex|clone3?|exit_group|execve|rt_sig\w+|sched_\w+|get\w*id|close)$/;

/** Runs Stasis with the `when`th system call of a name failing. */
export function withFailure(
  victim: Victim,
  args: readonly string[],
  { call, when }: Occasion,
  errno: string,
): Promise<Outcome> {
  const inject = `inject=${call}:error=${errno}:when=${when}`;
  return stasis(args, { cwd: victim.dir, wrapper: ['strace', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject] });
}
