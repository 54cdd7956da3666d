/** Threads asleep in calls with a time limit, through a dump and a restore: each goes on with the time it had left. */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { victimSuite } from './kit/suite.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

victimSuite('many sleepers', [
  { victim: 'freeze-sleepers', args: ['300'], ways: ['restore', 'running', 'again'], ignore: [/./], limitMs: 40_000 },
]);

test('a call whose remaining time nobody can tell goes on, and does not end with EINTR', async () => {
  using victim = await Victim.start('polls', ['8']);
  // The timers of a stopped process are gone before Stasis looks at it.
  process.kill(victim.pid, 'SIGSTOP');
  const isStopped = (): true | undefined =>
    /^State:\tT/m.test(readFileSync(`/proc/${victim.pid}/status`, 'latin1')) ? true : undefined;
  await until(isStopped, 5000, () => 'it does not stop');
  const { stderr } = await victim.dump();
  expect(stderr).toContain('its remaining time is unknown');
  await victim.restore();
  process.kill(victim.pid, 'SIGCONT');
  await victim.verdict();
}, 40_000);
