/** Who a process is and what restricts it: users and capabilities, seccomp; of all its threads and its children. */
import { describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { helperBinary } from './kit/compile.ts';
import { stasis } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const modes = ['user', 'forbidding', 'differ', 'some', 'synced', 'children'];
victimSuite(
  'seccomp',
  modes.map((how) => ({ victim: 'seccomp', args: [how] })),
);

victimSuite('users of a tree', [{ victim: 'users' }]);

describe('a sandbox, whose rules nobody is told, is found', () => {
  test.each(['root', 'user', 'thread'])(
    'of %s',
    async (how) => {
      using victim = await Victim.run([helperBinary('sandbox'), how]);
      if (victim.skipped) return;
      const images = join(victim.dir, 'unfit');
      mkdirSync(images);
      const { status, stderr } = await stasis(['dump', '-t', String(victim.pid), '-D', images], { limitMs: 10_000 });
      expect(stderr).toContain('Landlock: it is in a sandbox');
      expect(status).toBe(1);
      const said = victim.output().length;
      await until(
        () => (victim.output().length > said ? true : undefined),
        5000,
        () => 'it does not go on',
      );
    },
    20_000,
  );
});

test('keyrings are told of', async () => {
  using victim = await Victim.run([helperBinary('keys')]);
  if (victim.skipped) return;
  await victim.dump(['--leave-running']);
  const log = readFileSync(join(victim.images, 'dump.log'), 'utf8');
  for (const whose of ['process', 'thread']) expect(log).toMatch(`the keys in the keyring of its ${whose}`);
  expect(victim.alive()).toBe(true);
}, 20_000);
