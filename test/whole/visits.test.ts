/**
 * Programs in every thread of a process: they tell what they should, and nobody notices, also when Stasis dies
 * meanwhile.
 */
import { describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { helperBinary } from './kit/compile.ts';
import { free, HARM } from './kit/harm.ts';
import { HOUSE } from './kit/house.ts';
import { run } from './kit/stasis.ts';
import { differences, type TaskState } from './kit/state.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const VISITOR = [join(HOUSE, 'node_modules/.bin/bun'), join(HOUSE, 'test/whole/kit/visitor.ts')];
const LONG = 90_000 + HARM * 3000;

const crowd = (count: number, ...more: readonly string[]): Promise<Victim> =>
  Victim.run([helperBinary('crowd'), String(count), ...more]);

/** How far each thread has come. */
function turns(victim: Victim): BigUint64Array {
  const bytes = readFileSync(join(victim.cwd, 'turns'));
  return new BigUint64Array(new Uint8Array(bytes).buffer);
}

/** Waits until every thread has come further, and none has failed. */
async function allGoOn(victim: Victim): Promise<void> {
  const before = turns(victim);
  const stuck = (): number[] => [...turns(victim).entries()].filter(([i, n]) => n <= (before[i] ?? 0n)).map(([i]) => i);
  await until(
    () => (stuck().length === 0 || victim.output().includes('FAIL') ? true : undefined),
    20_000,
    () => `threads ${stuck().join(', ')} do not go on; ${victim.output()}`,
  );
  expect(victim.output()).not.toContain('FAIL');
}

/** Nothing of Stasis is left in the process. Its threads handle signals all the time. */
async function isAsBefore(victim: Victim, before: TaskState): Promise<void> {
  const changes = (): string[] => differences(before, victim.state(), [/^thread /]);
  await until(
    () => (changes().length === 0 ? true : undefined),
    3000,
    () => changes().join('\n'),
  );
}

async function freeAgain(victim: Victim): Promise<void> {
  for (const tid of readdirSync(`/proc/${victim.pid}/task`)) await free(Number(tid));
}

/** Has threads visited, and kills the visitor so many milliseconds after it began; answers how many rounds it made. */
async function visitsKilled(
  words: readonly string[],
  ms: number,
  sign = 'visiting',
  first = () => {},
): Promise<number> {
  const [file = '', ...args] = [...VISITOR, ...words];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise((done) => child.on('exit', done));
  try {
    await until(
      () => (said.includes(sign) ? true : undefined),
      30_000,
      () => `no visit: ${said}`,
    );
    first();
    await sleep(ms);
  } finally {
    child.kill('SIGKILL');
  }
  await ended;
  return said.split('\n').length - 2;
}

test('threads in all kinds of calls are visited, and notice nothing', async () => {
  using victim = await crowd(54);
  const before = victim.state();
  const { status, stdout, stderr } = await run([...VISITOR, String(victim.pid), '60']);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout.match(/"visits":54/g)?.length).toBe(60);
  await freeAgain(victim);
  await allGoOn(victim);
  await isAsBefore(victim, before);
  await victim.verdict();
}, 60_000);

test('several processes at the same time', async () => {
  using one = await crowd(18);
  using two = await crowd(30);
  using three = await crowd(3);
  const all = [one, two, three];
  const { status, stdout, stderr } = await run([...VISITOR, all.map(({ pid }) => pid).join(), '40']);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout.match(/"visits":51/g)?.length).toBe(40);
  for (const victim of all) {
    await freeAgain(victim);
    await allGoOn(victim);
    await victim.verdict();
  }
}, 60_000);

/** The process that shares the victim's memory. */
function neighbour(victim: Victim): number {
  return Number(/shares with (\d+)/.exec(victim.output())?.[1]);
}

test('processes with the same memory, one after the other', async () => {
  using victim = await crowd(20, 'shared');
  const before = victim.state();
  const { status, stdout, stderr } = await run([...VISITOR, `${victim.pid}+${neighbour(victim)}`, '40']);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout.match(/"visits":20/g)?.length).toBe(40);
  expect(stdout.match(/"visits":0/g)?.length).toBe(40);
  await freeAgain(victim);
  await free(neighbour(victim));
  await allGoOn(victim);
  await isAsBefore(victim, before);
  await victim.verdict();
}, 60_000);

test('a process that was stopped stays so', async () => {
  using victim = await crowd(20);
  process.kill(victim.pid, 'SIGSTOP');
  await stopped(victim);
  const { status, stderr } = await run([...VISITOR, String(victim.pid), '10']);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  await stopped(victim);
  process.kill(victim.pid, 'SIGCONT');
  await allGoOn(victim);
  await victim.verdict();
}, 60_000);

/** Waits until all threads stand still, with no tracer. */
async function stopped(victim: Victim): Promise<void> {
  await until(
    () => {
      const all = readdirSync(`/proc/${victim.pid}/task`).map((tid) => readFileSync(`/proc/${tid}/status`, 'latin1'));
      return all.every((text) => /^State:\tT/m.test(text) && /^TracerPid:\t0/m.test(text)) ? true : undefined;
    },
    3000,
    () => 'it is not stopped',
  );
}

test('threads that are still in a cave are led out of it', async () => {
  using victim = await crowd(20);
  const before = victim.state();
  // Stopped, they stay where the death of Stasis finds them. The leader has run a program, a thread is about to.
  process.kill(victim.pid, 'SIGSTOP');
  await stopped(victim);
  const inject = ['strace', '-o', '/dev/null', '-e', 'trace=process_vm_writev', '-e'];
  for (const when of [1, 2, 3, 4, 5, 8]) {
    await run([...inject, `inject=process_vm_writev:signal=KILL:when=${when}`, ...VISITOR, String(victim.pid)]);
    await stopped(victim);
    const first = await run([...VISITOR, String(victim.pid)]);
    if (first.status !== 0) expect(first.stderr).toContain('code of a Stasis that was killed, and has been led out');
    await stopped(victim);
    const { status, stderr } = await run([...VISITOR, String(victim.pid)]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    await stopped(victim);
  }
  process.kill(victim.pid, 'SIGCONT');
  await freeAgain(victim);
  await allGoOn(victim);
  await isAsBefore(victim, before);
  await victim.verdict();
}, 60_000);

test('a cave that a signal handler will return to is not written to', async () => {
  using victim = await Victim.run([helperBinary('dawdle')]);
  await visitsKilled([String(victim.pid), '1', 'free', 'rest'], 0, 'resting', () =>
    process.kill(victim.pid, 'SIGUSR1'),
  );
  await freeAgain(victim);
  const early = await run([...VISITOR, String(victim.pid)]);
  expect(early.stderr).toContain('about to leave the code of a Stasis that was killed');
  await sleep(1600);
  const { status, stderr } = await run([...VISITOR, String(victim.pid)]);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  await victim.verdict();
}, 60_000);

describe('threads behind seccomp', () => {
  test('are visited, whoever leads', async () => {
    using victim = await Victim.run([helperBinary('fenced')]);
    const before = victim.state();
    for (const who of ['free', 'exitless']) {
      const { status, stdout, stderr } = await run([...VISITOR, String(victim.pid), '20', who]);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(stdout.match(/"visits":12/g)?.length).toBe(20);
      await freeAgain(victim);
      await allGoOn(victim);
      await isAsBefore(victim, before);
    }
    await victim.verdict();
  }, 60_000);

  test('live on if Stasis is killed while nothing runs in them', async () => {
    for (const who of ['free', 'exitless']) {
      using victim = await Victim.run([helperBinary('fenced')]);
      for (let i = 0; i < 5; i++) {
        await visitsKilled([String(victim.pid), '1', who, 'rest'], 5, 'resting');
        await freeAgain(victim);
        await allGoOn(victim);
      }
      await victim.verdict();
    }
  }, 60_000);
});

describe('SIGKILL to Stasis at any moment of visits', () => {
  const cases = [
    { about: 'threads in all kinds of calls', args: [], share: 3 },
    { about: 'threads that come before others', args: ['fifo'], share: 1 },
    { about: 'processes with the same memory', args: ['shared'], share: 1 },
    { about: 'a process that was stopped', args: [], share: 1, isStopped: true },
  ];
  for (const { about, args, share, isStopped } of cases)
    test(about, () => harmed(share, args, isStopped ?? false), LONG);
});

async function harmed(share: number, args: readonly string[], isStopped: boolean): Promise<void> {
  using victim = await crowd(args.length > 0 ? 18 : 54, ...args);
  const others = args.includes('shared') ? [neighbour(victim)] : [];
  const before = victim.state();
  let rounds = 0;
  for (let i = 0; i < HARM * share; i++) {
    const ms = Math.random() * 12;
    if (isStopped) process.kill(victim.pid, 'SIGSTOP');
    rounds += await visitsKilled([[victim.pid, ...others].join('+'), '1000'], ms);
    try {
      if (isStopped) await stopped(victim);
      if (isStopped) process.kill(victim.pid, 'SIGCONT');
      await freeAgain(victim);
      for (const pid of others) await free(pid);
      await allGoOn(victim);
    } catch (error) {
      throw new Error(`killed after ${ms.toFixed(1)} ms: ${error instanceof Error ? error.message : error}`);
    }
  }
  await isAsBefore(victim, before);
  console.log(`killed ${HARM * share} times, after ${rounds} whole rounds`);
  await victim.verdict();
}
