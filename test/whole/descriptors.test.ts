/** Open files that are more than a path: what reports events, pipes, terminals. */
import { describe, test } from 'bun:test';
import { helperBinary } from './kit/compile.ts';
import { victimSuite } from './kit/suite.ts';
import { goOn, Victim } from './kit/victim.ts';

victimSuite('descriptors', [
  { victim: 'pipes' },
  { victim: 'procfiles' },
  { victim: 'packets' },
  // A hash has another seed each time, and so another order.
  { victim: 'bpfmaps', images: [/^bpfmap-data/] },
  { victim: 'unread' },
  { victim: 'unread', args: ['running'], ways: ['running'] },
  { victim: 'unread', args: ['signalled'], ways: ['restore'] },
  // The slave that TIOCGPTPEER opened comes back as one opened by its name, with O_LARGEFILE and without O_CLOEXEC.
  { victim: 'terminal', ignore: [/^fd 8$/], images: [/(reg|tty)\.flags/] },
  { victim: 'closedpty' },
]);

// Without the look from outside: timers never stand still, and lists of targets have no order.
describe('epoll: numbers that are not the files’ any more', () => {
  test('dump and restore, twice', async () => {
    using victim = await Victim.start('epolls');
    for (let cycle = 0; cycle < 2; cycle++) {
      await victim.cycle();
      await goOn();
    }
    await victim.verdict();
  });
});

describe('events', () => {
  test('dump and restore, three times', async () => {
    using victim = await Victim.start('events');
    for (let cycle = 0; cycle < 3; cycle++) {
      await victim.cycle();
      await goOn();
    }
    await victim.verdict();
  });

  test('dump --leave-running', async () => {
    using victim = await Victim.start('events');
    await victim.dump(['--leave-running']);
    await victim.verdict();
  });
});

test('descriptors that come and go while they are looked at', async () => {
  using victim = await Victim.run([helperBinary('busy')]);
  for (let i = 0; i < 15; i++) await victim.dump(['--leave-running']);
}, 30_000);
