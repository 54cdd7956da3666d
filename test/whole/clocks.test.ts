/** Clocks that count from the boot go on across a dump and a restore, on a machine booted at another time as well. */
import { describe, expect, test } from 'bun:test';
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ImageSet } from '../../src/images/image-set.ts';
import { Images } from '../../src/images/kinds.ts';
import { machineClocks } from '../../src/kernel/time-namespace.ts';
import { victimBinary } from './kit/compile.ts';
import { goesOn } from './kit/harm.ts';
import { victimSuite } from './kit/suite.ts';
import { goOn, Victim } from './kit/victim.ts';

// Its timers may come to their end meanwhile, on a busy machine; it looks at them itself.
victimSuite('clocks', [
  {
    victim: 'clocks',
    ways: ['restore', 'running', 'cycles', 'again'],
    ignore: [/^fd [34]: was "anon_inode:\[timerfd\]/],
  },
]);

victimSuite('time namespaces', [
  {
    victim: 'timens',
    ways: ['restore', 'running', 'cycles', 'again'],
    ignore: [/ns\/time/],
    images: [/_ns_id/, /^timens-/],
    limitMs: 60_000,
  },
]);

const SECOND = 1_000_000_000n;

/** Has Stasis run on a machine that seems to have been booted so many seconds earlier. */
function bootedEarlier(seconds: number): string[] {
  return ['unshare', '--time', `--monotonic=${seconds}`, `--boottime=${2 * seconds}`, '--fork'];
}

function offsets(pid: number): string {
  return readFileSync(`/proc/${pid}/timens_offsets`, 'latin1');
}

describe('clocks of another machine', () => {
  for (const seconds of [10 * 86_400, -100]) {
    test(`${seconds} seconds`, async () => {
      using victim = await Victim.start('clocks');
      if (victim.skipped) return;
      await victim.dump();
      await victim.restore([], { wrapper: bootedEarlier(seconds) });
      // Against the machine's own clocks, it is only behind by the time it was away.
      expect(offsets(victim.pid)).toMatch(/^monotonic +-\d +\d+\nboottime +-\d +\d+\n$/);
      // Now from within a time namespace that is not the one of who dumps it.
      await victim.dump();
      const set = new ImageSet(victim.images);
      expect(set.read(Images.timens, 0)).toEqual([]);
      expect(set.readOne(Images.ids, victim.pid).time_ns_id).not.toBe(set.inventory().root_ids?.time_ns_id);
      await victim.restore([], { wrapper: bootedEarlier(seconds) });
      await goOn();
      await victim.verdict();
    }, 20_000);
  }
});

test('the image holds the clocks as they were at the dump', async () => {
  using victim = await Victim.start('clocks');
  if (victim.skipped) return;
  const before = machineClocks();
  await victim.dump();
  const after = machineClocks();
  const { monotonic, boottime } = new ImageSet(victim.images).readOne(Images.timens, 0);
  for (const [clock, { tv_sec, tv_nsec }] of [
    ['monotonic', monotonic],
    ['boottime', boottime],
  ] as const) {
    const reading = tv_sec * SECOND + tv_nsec;
    expect(reading > before[clock] && reading < after[clock]).toBe(true);
  }
  await victim.restore();
  await victim.verdict();
}, 20_000);

test('without the right to set clocks they leap, which is told', async () => {
  const unable = ['setpriv', '--bounding-set=-sys_time'];
  using victim = await Victim.run([...unable, victimBinary('sturdy'), '1']);
  await victim.dump();
  await victim.restore([], { wrapper: unable });
  const log = readFileSync(join(victim.images, 'restore.log'), 'latin1');
  expect(log).toContain('the clocks leap to those of this machine: its offsets cannot be set (EPERM');
  expect(readlinkSync(`/proc/${victim.pid}/ns/time`)).toBe(readlinkSync('/proc/self/ns/time'));
  expect(readlinkSync(`/proc/${victim.pid}/ns/time_for_children`)).toBe(readlinkSync('/proc/self/ns/time'));
  await goesOn(victim);
}, 20_000);
