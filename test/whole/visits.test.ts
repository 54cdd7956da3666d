/** Programs in every thread of a process: they tell what they should, and nobody notices, also when Stasis dies meanwhile. */
import { describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { helperBinary } from './kit/compile.ts';
import { free, HARM, unharmed } from './kit/harm.ts';
import { HOUSE } from './kit/house.ts';
import { run } from './kit/stasis.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const VISITOR = [join(HOUSE, 'node_modules/.bin/bun'), join(HOUSE, 'test/whole/kit/visitor.ts')];
const LONG = 60_000 + HARM * 1500;

const crowd = (count: number, ...more: string[]): Promise<Victim> =>
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
    5000,
    () => `threads ${stuck().join(', ')} do not go on; ${victim.output()}`,
  );
  expect(victim.output()).not.toContain('FAIL');
}

async function freeAgain(victim: Victim): Promise<void> {
  for (const tid of readdirSync(`/proc/${victim.pid}/task`)) await free(Number(tid));
}

/** Has threads visited, and kills the visitor so many milliseconds after it began; answers how many rounds it made. */
async function visitsKilled(pids: readonly number[], ms: number): Promise<number> {
  const [file = '', ...args] = [...VISITOR, pids.join(), '1000'];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise((done) => child.on('exit', done));
  await until(
    () => (said.includes('visiting') ? true : undefined),
    10_000,
    () => `no visit: ${said}`,
  );
  await sleep(ms);
  child.kill('SIGKILL');
  await ended;
  return said.split('\n').length - 2;
}

test('threads in all kinds of calls are visited, and notice nothing', async () => {
  using victim = await crowd(54);
  const before = await victim.settled();
  const { status, stdout, stderr } = await run([...VISITOR, String(victim.pid), '60']);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout.match(/"visits":54/g)?.length).toBe(60);
  await freeAgain(victim);
  await allGoOn(victim);
  await unharmed(before, victim);
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

describe('SIGKILL to Stasis', () => {
  test(
    'at any moment of visits',
    async () => {
      using victim = await crowd(54);
      const before = await victim.settled();
      let rounds = 0;
      for (let i = 0; i < HARM * 5; i++) {
        const ms = Math.random() * 12;
        rounds += await visitsKilled([victim.pid], ms);
        try {
          await freeAgain(victim);
          await allGoOn(victim);
        } catch (error) {
          throw new Error(`killed after ${ms.toFixed(1)} ms: ${error instanceof Error ? error.message : error}`);
        }
      }
      await unharmed(before, victim);
      console.log(`killed ${HARM * 5} times, after ${rounds} whole rounds`);
      await victim.verdict();
    },
    LONG,
  );
});
