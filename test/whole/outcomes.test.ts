/** What a dump and a restore say when they succeed: --json for programs, progress for people at a terminal. */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, stasisCommand, stasisOk } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

test('--json: one object on stdout for a dump and for a restore', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  const { pid } = victim;
  const dumped = await stasisOk(victim.dumpLine(['--json', '--display-stats']));
  expect(JSON.parse(dumped.stdout)).toMatchObject({
    command: 'dump',
    pid,
    imagesDir: victim.images,
    finalState: 'dead',
    exitCode: 0,
    microseconds: { frozen: expect.any(Number) },
    pages: expect.any(Number),
  });
  expect(dumped.stderr).toBe('');
  await victim.waitGone();
  const restored = await stasisOk(victim.restoreLine(['--json']));
  expect(JSON.parse(restored.stdout)).toMatchObject({ command: 'restore', pid, imagesDir: victim.images });
  expect(restored.stderr).toBe('');
}, 30_000);

/**
 * Runs a command on a terminal of its own, which script(1) makes; answers what it showed, with a slow machine in it.
 */
async function onTerminal(words: readonly string[], dir: string): Promise<string> {
  const screen = join(dir, 'screen');
  const line = [...stasisCommand(), ...words].map((word) => `'${word}'`).join(' ');
  await run(['script', '-qec', line, screen]);
  return readFileSync(screen, 'latin1');
}

test('progress is shown of long work at a terminal, and taken away again; not in a pipe, not with --json', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  // A script that takes its time makes the work long, whatever the machine.
  const slow = ['--action-script', '[ $CRTOOLS_SCRIPT_ACTION = pre-dump ] && sleep 0.7; exit 0', '-R'];
  const shown = await onTerminal(victim.dumpLine(slow), victim.dir);
  expect(shown).toContain('Freezing the tree');
  expect(shown.slice(shown.lastIndexOf('\r\x1b[K'))).not.toContain('tree');
  expect(await onTerminal(victim.dumpLine([...slow, '--json']), victim.dir)).not.toContain('Freezing');
  expect((await stasisOk(victim.dumpLine(slow))).stderr).toBe('');
}, 30_000);
