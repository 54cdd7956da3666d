/**
 * Rings of io_uring. Without the look from outside: the counters of a ring that is used never stand still.
 */
import { describe, expect, test } from 'bun:test';
import { goOn, Victim } from './kit/victim.ts';

/** Victims, each with what it is about. */
const VICTIMS: readonly (readonly [name: string, ...args: string[]])[] = [['uring'], ['uringtasks'], ['uringpolled']];

describe('rings', () => {
  for (const [name, ...args] of VICTIMS) {
    const title = [name, ...args].join(' ');
    test(`${title}: dump and restore, three times`, async () => {
      using victim = await Victim.start(name, args);
      if (victim.skipped) return;
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.cycle();
        await goOn();
      }
      await victim.verdict();
    }, 30_000);

    test(`${title}: dump --leave-running`, async () => {
      using victim = await Victim.start(name, args);
      if (victim.skipped) return;
      for (let dumps = 0; dumps < 3; dumps++) await victim.dump(['--leave-running']);
      expect(victim.alive()).toBe(true);
      await victim.verdict();
    }, 30_000);
  }
});
