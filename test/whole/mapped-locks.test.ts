/** Locks that live through a mapping alone: carried with --file-locks, and told of without. */
import { expect, test } from 'bun:test';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const LOCK_EX_NB = 6;

for (const args of [[], ['family']]) {
  test(`are carried${args.length > 0 ? ', those of families' : ''}`, async () => {
    using victim = await Victim.start('maplock', args);
    const { stderr } = await victim.dump(['--file-locks']);
    expect(stderr).toBe('');
    await victim.restore();
    await victim.cycle({ dump: ['-l'] });
    await victim.verdict();
  }, 30_000);
}

test('are told of by name when they are lost', async () => {
  using victim = await Victim.start('maplock', ['lost']);
  const check = await stasis(['check', '-t', String(victim.pid)]);
  expect(check.status).toBe(0);
  expect(check.stdout).toMatch(/Warning: task \d+ \(maplock\): mapping .*\/exclusive: a lock \(FLOCK WRITE\)/);
  expect(check.stdout).toMatch(/Warning: .*\/shared: a lock \(FLOCK READ\) .*\nHint: --file-locks carries it/);
  const { stderr } = await victim.dump();
  expect(stderr.match(/^Warning: /gm)).toHaveLength(2);
  await victim.restore();
  await victim.verdict();
});

test('are not taken from somebody else', async () => {
  using victim = await Victim.start('maplock');
  await victim.dump(['--file-locks']);
  const mine = openSync(join(victim.cwd, 'exclusive'), 'r');
  expect(trySyscall('flock', mine, LOCK_EX_NB)).toBe(0);
  const { status, stderr } = await stasis(victim.restoreLine());
  expect(status).toBe(1);
  expect(stderr).toContain('exclusive: another process holds a conflicting lock on the file');
  expect(trySyscall('close', mine)).toBe(0);
  await victim.restore();
  await victim.verdict();
});

test('are found on files that are executed, but for shared libraries', async () => {
  for (const what of ['code', 'library']) {
    using victim = await Victim.start('maplock', [what]);
    const check = await stasis(['check', '-t', String(victim.pid)]);
    expect(check.stdout.includes('a lock (FLOCK WRITE)')).toBe(what === 'code');
    await victim.dump(['--file-locks']);
    await victim.restore();
    await victim.verdict();
  }
});
