/**
 * Pipes whose other half is held by somebody outside of the tree: it is as if that had gone, and whoever looks on is
 * told.
 */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

test('half a pipe is as if the other half had gone, and this is told', async () => {
  using victim = await Victim.start('halfpipes');
  const about = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('Warning: '));
  const check = await stasis(['check', '-t', String(victim.pid)]);
  expect(check.status).toBe(0);
  expect(check.stdout).toContain('can be dumped');
  expect(about(check.stdout)).toHaveLength(3);
  const json = await stasis(['check', '-t', String(victim.pid), '--json']);
  const report = JSON.parse(json.stdout) as { dumpable: boolean; notices: { resource: string; remedy?: string }[] };
  expect(report.dumpable).toBe(true);
  expect(report.notices.map(({ resource }) => resource.replace(/\d+|^.*(?=\/fifo)/g, ''))).toEqual([
    'pipe:[]',
    'pipe:[]',
    '/fifo (deleted)',
  ]);
  const dumped = await victim.dump();
  expect(about(dumped.stderr)).toHaveLength(3);
  expect(dumped.stderr).toMatch(/pipe:\[\d+\]: its writing end is held by a process outside of the tree/);
  expect(dumped.stderr).toMatch(
    /^Hint: another end is given at the restore with --inherit-fd 'fd\[N\]:pipe:\[\d+\]'$/m,
  );
  expect(readFileSync(join(victim.images, 'dump.log'), 'utf8')).toContain(
    'its reading end is held by a process outside',
  );
  const restored = await victim.restore();
  expect(about(restored.stderr)).toHaveLength(2);
  expect(restored.stderr).toContain('writing fails (EPIPE)');
  await victim.verdict();
});

test('a dump that lets the program go on leaves half pipes alone', async () => {
  using victim = await Victim.start('halfpipes', ['running']);
  const { stderr } = await victim.dump(['--leave-running', '-v1']);
  expect(stderr).toBe('');
  await victim.verdict();
});
