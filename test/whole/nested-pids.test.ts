/** Trees in several PID namespaces: everybody keeps all the numbers that anybody knows. */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stasis } from './kit/stasis.ts';
import { goOn, type StartOptions, Victim } from './kit/victim.ts';

const LIMIT = 60_000;
const WHERE: readonly (readonly [string, StartOptions])[] = [
  ['in that of the machine', {}],
  ['the init of its own', { unshare: ['--pid'] }],
];

/** The numbers that all processes of a tree have in each namespace, further in than the root's. */
function numbers(victim: Victim): string[] {
  const depth = levels(victim.pid).length - 1;
  return victim
    .members()
    .map((pid) => ['NSpid', 'NSpgid', 'NSsid'].map((what) => levels(pid, what).slice(depth).join('/')).join(' '))
    .sort();
}

function levels(pid: number, what = 'NSpid'): string[] {
  const { stdout } = spawnSync('grep', [`^${what}:`, `/proc/${pid}/status`], { encoding: 'utf8' });
  return stdout.trim().split(/\s+/).slice(1);
}

describe.each(WHERE)('several PID namespaces, the root %s', (_, options) => {
  test(
    'cycles',
    async () => {
      using victim = await Victim.start('nestedpids', [], options);
      if (victim.skipped) return;
      await goOn();
      const before = numbers(victim);
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.cycle();
        await goOn();
        expect(numbers(victim)).toEqual(before);
      }
      await victim.verdict();
    },
    LIMIT,
  );

  test(
    'a dump that leaves it running, and a restore that fails',
    async () => {
      using victim = await Victim.start('nestedpids', [], options);
      if (victim.skipped) return;
      await victim.dump(['--leave-running']);
      await goOn();
      await victim.dump();
      const script = join(victim.dir, 'script');
      writeFileSync(script, '#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ]\n');
      chmodSync(script, 0o755);
      const failed = await stasis(victim.restoreLine(['--action-script', script]));
      expect(failed.status).not.toBe(0);
      expect(victim.remains()).toEqual([]);
      await victim.restore();
      await goOn();
      await victim.verdict();
    },
    LIMIT,
  );
});
