/**
 * Trees that dice have made are dumped and restored, and everything that can be seen of them is compared. What cannot
 * be carried is to be refused before the freeze, and the tree to go on as it was. `STASIS_SEEDS=1-500` for the proof,
 * few for every day.
 */
import { afterAll, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { complaint, stasis } from './kit/stasis.ts';
import { differences, type TaskState } from './kit/state.ts';
import { RandomTree } from './kit/tree-view.ts';
import { goOn, Victim } from './kit/victim.ts';

const [from, to] = (process.env.STASIS_SEEDS ?? '1-25').split('-').map(Number);
const seeds = Array.from({ length: (to ?? from ?? 1) - (from ?? 1) + 1 }, (_, i) => (from ?? 1) + i);

/** How many came back, and why others were refused. */
const came = { restored: 0, refused: new Map<number, string>() };

for (const seed of seeds) {
  test(`seed ${seed}`, () => throughDumpAndRestore(seed), 60_000);
}

afterAll(() => {
  for (const [seed, why] of came.refused) console.log(`seed ${seed}: ${why.trim()}`);
  console.log(`${came.restored} of ${seeds.length} trees restored, ${came.refused.size} refused before the freeze`);
  // One that refuses everything must not pass.
  if (seeds.length >= 10) expect(came.restored).toBeGreaterThan(seeds.length * 0.75);
});

async function throughDumpAndRestore(seed: number): Promise<void> {
  using victim = await Victim.start('random-tree', [String(seed)], { limitMs: 20_000 });
  const tree = new RandomTree(victim.cwd, victim.pid);
  await tree.look();
  await goOn();
  const before = await tree.look();
  // Where there are differences without a dump, they mean nothing after one.
  expect(differences(before, await tree.look())).toEqual([]);
  for (let cycle = 0; cycle < (seed % 5 === 0 ? 2 : 1); cycle++) {
    if (!(await cycleOrRefusal(victim, seed))) {
      expect(differences(before, await tree.look())).toEqual([]);
      return;
    }
    expect(differences(before, await tree.look())).toEqual([]);
  }
  came.restored++;
  expect(waiting(await tree.lastWords())).toEqual(promised(before));
}

/** A dump, which may be of a tree that runs on, and a restore; false if the dump was refused before the freeze. */
async function cycleOrRefusal(victim: Victim, seed: number): Promise<boolean> {
  const options = ['--file-locks', '--link-remap'];
  const line = victim.dumpLine([...options, ...(seed % 7 === 0 ? ['--leave-running'] : [])]);
  const log = join(victim.images, 'dump.log');
  const outcome = await stasis(line);
  if (outcome.status !== 0) {
    const frozen = !existsSync(log) || readFileSync(log, 'utf8').includes('preflight: nothing in the way');
    if (frozen) throw new Error(complaint(line, outcome, log));
    came.refused.set(seed, outcome.stderr);
    return false;
  }
  if (seed % 7 === 0) return true;
  await victim.waitGone();
  await restored(victim, options);
  return true;
}

/** Other tests make terminals as well: the numbers come free again. */
async function restored(victim: Victim, options: readonly string[]): Promise<void> {
  for (let left = 20; ; left--) {
    try {
      await victim.restore(options);
      return;
    } catch (error) {
      if (left === 0 || !/terminal number \d+ is in use/.test(String(error))) throw error;
      await goOn(300);
    }
  }
}

/** The signals members said they had sent themselves, by process ID; and those that came. */
function promised(view: TaskState): Map<number, string[]> {
  const found = new Map<number, string[]>();
  for (const [name, value] of view) {
    const [, pid, what] = /^member (\d+) (.*)/.exec(name) ?? [];
    if (!pid || !what) continue;
    const list = found.get(Number(pid)) ?? [];
    found.set(Number(pid), what.startsWith('to wait') ? [...list, value].sort() : list);
  }
  return found;
}

function waiting(words: ReadonlyMap<number, string>): Map<number, string[]> {
  return new Map(
    [...words].map(([pid, text]) => [
      pid,
      [...text.matchAll(/^waits: (.*)$/gm)].map(([, value]) => value ?? '').sort(),
    ]),
  );
}
