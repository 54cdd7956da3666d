/** Limits that are reached: what Stasis needs for a moment must not fail on them. */
import { expect, test } from 'bun:test';
import { free, HARM, moments, stasisKilled } from './kit/harm.ts';
import { stasis } from './kit/stasis.ts';
import { goOn, Victim } from './kit/victim.ts';

const FEW = ['prlimit', '--nofile=200:200'];

test('the highest descriptor that is allowed', async () => {
  using victim = await Victim.start('brim', ['files', 'hard']);
  await victim.dump();
  await victim.restore([], { wrapper: FEW });
  await victim.verdict();
}, 20_000);

test('all descriptors that are allowed are open: one more must be allowed', async () => {
  using victim = await Victim.start('brim', ['full', 'hard']);
  await victim.dump();
  const { status, stderr } = await stasis(victim.restoreLine(), { wrapper: FEW });
  expect(status).toBe(1);
  expect(stderr).toContain('201 descriptors are needed, and no more than 200 are allowed');
  await victim.restore([], { wrapper: ['prlimit', '--nofile=200:201'] });
  await victim.verdict();
}, 20_000);

for (const what of ['as', 'data', 'locked']) {
  test(`as much memory as is allowed (${what}): the limit is lifted for the moment`, async () => {
    using victim = await Victim.start('brim', [what]);
    await victim.dump(['--leave-running']);
    await goOn();
    await victim.cycle();
    await victim.cycle();
    await victim.verdict();
  }, 30_000);
}

for (const what of ['as', 'data']) {
  test(`as much memory as can be allowed (${what}) is refused before the freeze`, async () => {
    using victim = await Victim.start('brim', [what, 'hard']);
    const check = await stasis(['check', '-t', String(victim.pid)]);
    const dump = await stasis(victim.dumpLine());
    for (const { status, stdout, stderr } of [check, dump]) {
      expect(status).toBe(1);
      expect(stdout + stderr).toContain(`RLIMIT_${what.toUpperCase()}: the process may have`);
      expect(stdout + stderr).toContain(`Hint: raise the limit: prlimit --pid ${victim.pid} --${what}=`);
    }
    await victim.verdict();
  });
}

test('exec in a process that has as much memory as is allowed', async () => {
  for (const what of ['as', 'data', 'locked']) {
    using victim = await Victim.start('brim', [what]);
    const { status, stdout } = await stasis(['exec', '-p', String(victim.pid), 'getpid']);
    expect(stdout).toContain(String(victim.pid));
    expect(status).toBe(0);
    await victim.verdict();
  }
  using victim = await Victim.start('brim', ['as']);
  const limits = await stasis(['exec', '-p', String(victim.pid), 'getrlimit', '9', '@16']);
  expect(limits.stderr).toContain('RLIMIT_AS: the process has reached this limit');
  await victim.verdict();
}, 30_000);

test('a limit that is lifted comes back, whenever Stasis is killed', async () => {
  using victim = await Victim.start('brim', ['as']);
  const whole = await victim.dump(['--leave-running']);
  for (const ms of moments(Math.min(HARM, 40), whole.ms)) {
    await stasisKilled(victim.dumpLine(['--leave-running']), ms);
    await free(victim.pid);
    await goOn(20);
    expect(victim.output()).not.toContain('FAIL');
  }
  await victim.cycle();
  await victim.verdict();
}, 60_000);
