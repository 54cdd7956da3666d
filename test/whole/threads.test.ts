/** Threads, and all that is each one's own. */
import { expect, test } from 'bun:test';
import { helperBinary } from './kit/compile.ts';
import { stasis } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { goOn, Victim } from './kit/victim.ts';

/** Ticks come and go. */
const ticks = [/SigPnd$/, /SigBlk$/];
/** Timers with a thread to tell, and what each thread was about to do. */
const moved = [/^core-\d+\.thread_core\.(blk_sigset|sas)/];

victimSuite('threads', [
  { victim: 'threads', args: ['10', 'alike'], ignore: ticks, images: moved },
  { victim: 'threads', args: ['50'], ignore: ticks, images: moved },
]);

test('2,000 threads', async () => {
  using victim = await Victim.start('threads', ['2000', 'modest'], { limitMs: 30_000 });
  for (let cycle = 0; cycle < 2; cycle++) {
    await victim.cycle();
    await goOn(300);
  }
  await victim.verdict({ limitMs: 30_000 });
}, 120_000);

test('a process that ends before all of its threads have begun', async () => {
  using victim = await Victim.run([helperBinary('hasty')]);
  await victim.dump();
  await goOn(1600);
  const { status } = await stasis(victim.restoreLine());
  expect(status).toBe(0);
  await victim.waitGone();
}, 20_000);

test('a descriptor table and a working directory of a thread’s own', async () => {
  using victim = await Victim.start('ownfiles');
  await victim.dump(['--leave-running']);
  for (let cycle = 0; cycle < 3; cycle++) await victim.cycle();
  await victim.verdict();
}, 30_000);

test.each([
  ['cwd', 'a working directory of its own, which is another one'],
  ['umask', 'a working directory of its own, with another umask'],
  ['fd', 'a descriptor table of its own, which differs in descriptor 3'],
  ['cloexec', 'a descriptor table of its own, which differs in the flags of descriptor 3'],
  ['lock', 'a descriptor table of its own, and has locked a part of the file of descriptor 3'],
])('a thread that differs from its process in its %s is refused', async (what, reason) => {
  using victim = await Victim.start('ownfiles', [what]);
  const { status, stderr } = await stasis(victim.dumpLine());
  expect(status).toBe(1);
  expect(stderr).toContain(reason);
});
