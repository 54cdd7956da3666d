/** Who a process is and what restricts it: users and capabilities, seccomp; of all its threads and its children. */
import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { helperBinary } from './kit/compile.ts';
import { nothingLeft } from './kit/harm.ts';
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

/** A dump that is refused for a reason; the program goes on. */
async function refuses(victim: Victim, reason: string, wrapper: readonly string[] = []): Promise<void> {
  const images = join(victim.dir, 'refused');
  mkdirSync(images, { recursive: true });
  const line = ['dump', '-t', String(victim.pid), '-D', images];
  const { status, stderr } = await stasis(line, { limitMs: 10_000, wrapper });
  expect(stderr).toContain(reason);
  expect(status).toBe(1);
  const said = victim.output().length;
  await until(
    () => (victim.output().length > said ? true : undefined),
    5000,
    () => 'it does not go on',
  );
}

describe('a sandbox, whose rules nobody is told, is found', () => {
  test.each(['root', 'user', 'thread'])(
    'of %s',
    async (how) => {
      using victim = await Victim.run([helperBinary('sandbox'), how]);
      if (!victim.skipped) await refuses(victim, 'Landlock: it is in a sandbox');
    },
    20_000,
  );
});

test('a filter that asks a supervisor is refused', async () => {
  using victim = await Victim.run([helperBinary('supervised')]);
  if (!victim.skipped) await refuses(victim, 'hands system calls over to a supervisor');
}, 20_000);

/** Runs a command behind a filter that refuses a call nobody makes. */
const behindFilter = () => [helperBinary('deny'), '9999'];

test('behind seccomp itself, Stasis says that it cannot save seccomp', async () => {
  using victim = await Victim.run([helperBinary('supervised')]);
  if (!victim.skipped) await refuses(victim, 'Stasis is restricted by seccomp itself', behindFilter());
}, 20_000);

test('behind seccomp itself, Stasis says that it cannot restore seccomp, and leaves nothing behind', async () => {
  using victim = await Victim.start('seccomp', ['forbidding']);
  await victim.dump();
  const { status, stderr } = await stasis(victim.restoreLine(), { cwd: victim.dir, wrapper: behindFilter() });
  expect(stderr).toContain('seccomp cannot be suspended');
  expect(status).toBe(1);
  await nothingLeft(victim);
  await victim.restore();
  await victim.verdict();
}, 20_000);

test('keyrings are told of', async () => {
  using victim = await Victim.run([helperBinary('keys')]);
  if (victim.skipped) return;
  await victim.dump(['--leave-running']);
  const log = readFileSync(join(victim.images, 'dump.log'), 'utf8');
  for (const whose of ['process', 'thread']) expect(log).toMatch(`the keys in the keyring of its ${whose}`);
  expect(victim.alive()).toBe(true);
}, 20_000);

test('a label for restored tasks: of a module that is not there it is refused before any process exists', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  await victim.dump();
  const label = existsSync('/sys/fs/selinux/enforce') ? 'apparmor:some' : 'selinux:u:r:t_t:s0';
  const refused = await stasis(['restore', '-d', '-D', victim.images, '--lsm-profile', label], { limitMs: 20_000 });
  expect(refused.stderr).toContain(`--lsm-profile ${label}`);
  expect(refused.status).toBe(1);
  expect(victim.alive()).toBe(false);
  await victim.restore(['--lsm-profile', 'none:']);
  await victim.verdict();
});
