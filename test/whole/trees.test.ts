/** Trees of processes: who is whose child, in which session and group, what they share, how they ended. */
import { expect, test } from 'bun:test';
import { victimSuite } from './kit/suite.ts';
import { memoryOf } from './kit/tree.ts';
import { goOn, Victim } from './kit/victim.ts';

victimSuite('shapes', [
  { victim: 'tree', args: ['chain', '20'] },
  { victim: 'tree', args: ['wide', '30'] },
  { victim: 'tree', args: ['mixed', '40'] },
  { victim: 'tree', args: ['random', '30', '1'] },
  { victim: 'tree', args: ['random', '30', '2', '3'], about: 'with threads' },
]);

victimSuite('sessions and groups', [{ victim: 'sessions' }, { victim: 'sessions', args: ['stacked'] }]);

// The lives of hundreds; that such trees can be made is what the tests of the planner say.
victimSuite('parents that have gone again and again', [{ victim: 'restless', args: ['80', '1'], ways: ['restore'] }]);

victimSuite('processes without the terminal of their session', [{ victim: 'noterminal' }]);

victimSuite('zombies', [
  { victim: 'zombies', args: ['codes'], ways: ['restore', 'running'] },
  { victim: 'zombies', args: ['leaders'] },
]);

const sharing = {
  victim: 'sharing',
  // The servants set an action anew all the time; they are elsewhere and have a descriptor of 150 to
  // 166 for a moment, and a dump may fall into that moment.
  images: [
    /\.sigactions\.\d+\.(sigaction|flags)$/,
    /^fs-\d+\.umask$/,
    /^files\..*\.name$/,
    /^fdinfo-files#\d+\.fd 1[56]\d\./,
  ],
};
victimSuite('what processes share', [
  { ...sharing, args: ['none'] },
  { ...sharing, args: ['files', 'fs'] },
  { ...sharing, args: ['vm'] },
  sharing,
]);

victimSuite('work handed out', [{ victim: 'prefork', args: ['16', '6'] }]);

test('300 processes', async () => {
  using victim = await Victim.start('tree', ['random', '300', '3'], { limitMs: 30_000 });
  for (let cycle = 0; cycle < 2; cycle++) {
    await victim.cycle();
    await goOn();
  }
  await victim.verdict({ limitMs: 30_000 });
}, 120_000);

test('memory copied on writing is still in common', async () => {
  using victim = await Victim.start('prefork', ['64', '6', '4']);
  await goOn(200);
  const before = memoryOf(victim.members());
  for (let cycle = 0; cycle < 2; cycle++) {
    await victim.cycle();
    await goOn(200);
    const after = memoryOf(victim.members());
    expect(Math.abs(after.pss - before.pss)).toBeLessThan(before.pss / 10 + 4096);
    expect(Math.abs(after.own - before.own)).toBeLessThan(before.own / 10 + 4096);
  }
  await victim.verdict();
}, 40_000);
