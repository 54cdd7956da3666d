/**
 * Action scripts: at which points they are run, in which order, with what in their environment, and what their failure
 * does.
 */
import { expect, test } from 'bun:test';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nothingLeft } from './kit/harm.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

/**
 * Two scripts that note when they are run; the first fails at one point. Answers the options, and how to read the
 * notes.
 */
function scripts(victim: Victim, failing = ''): { options: string[]; notes: () => string[] } {
  const log = join(victim.dir, 'notes');
  const paths = ['one', 'another one'].map((name) => {
    const path = join(victim.dir, name);
    const pid = `\${CRTOOLS_INIT_PID:-no}`;
    const lines = [
      '#!/bin/sh',
      `[ -d "$CRTOOLS_IMAGE_DIR" ] && echo "${name} $CRTOOLS_SCRIPT_ACTION ${pid}" >>${log}`,
      name === 'one' && failing !== '' ? `[ "$CRTOOLS_SCRIPT_ACTION" = ${failing} ] && exit 3` : '',
      'exit 0',
    ];
    writeFileSync(path, `${lines.join('\n')}\n`);
    chmodSync(path, 0o755);
    return path;
  });
  const notes = (): string[] => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);
  return { options: paths.flatMap((path) => ['--action-script', path]), notes };
}

test('points and order', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  const { options, notes } = scripts(victim);
  await victim.dump(options);
  await victim.restore(options);
  const points: [point: string, pid: number | 'no'][] = [
    ['pre-dump', victim.pid],
    ['post-dump', victim.pid],
    ['pre-restore', 'no'],
    ['post-restore', victim.pid],
    ['pre-resume', victim.pid],
    ['post-resume', victim.pid],
  ];
  // The last named goes first, as with CRIU.
  expect(notes()).toEqual(points.flatMap(([point, pid]) => [`another one ${point} ${pid}`, `one ${point} ${pid}`]));
}, 20_000);

test('one that fails after the dump lets the task go on, and its exit code is that of the dump', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  const { options, notes } = scripts(victim, 'post-dump');
  expect((await stasis(victim.dumpLine(options))).status).toBe(3);
  expect(victim.alive()).toBe(true);
  expect(notes().length).toBe(4);
}, 20_000);

for (const point of ['pre-restore', 'post-restore']) {
  test(`one that fails at ${point} fails the restore`, async () => {
    using victim = await Victim.start('sturdy', ['1']);
    const { options, notes } = scripts(victim, point);
    await victim.dump();
    const { status, stderr } = await stasis(victim.restoreLine(options));
    expect(status).toBe(1);
    expect(stderr).toContain(`${point} script`);
    await nothingLeft(victim);
    expect(notes().at(-1)).toContain(`one ${point}`);
  }, 20_000);
}

test('one that fails when the task is about to run changes nothing', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  const { options, notes } = scripts(victim, 'pre-resume');
  await victim.dump();
  await victim.restore(options);
  expect(notes().at(-1)).toContain('one post-resume');
}, 20_000);
