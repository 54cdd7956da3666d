/** Cgroups: tasks go back to their places, these are made when missing, and go again when a restore fails. */
import { afterEach, expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

/** Hierarchies with a control file that limits nothing here. */
const ROOTS = [
  { root: '/sys/fs/cgroup/pids', file: 'pids.max' },
  { root: '/sys/fs/cgroup/unified', file: 'cgroup.max.depth' },
  { root: '/sys/fs/cgroup', file: 'cgroup.max.depth' },
].filter(({ root }) => existsSync(join(root, 'cgroup.procs')));

const NAME = `stasis-test-${process.pid}`;
const VALUE = '77\n';

interface Place {
  readonly top: string;
  readonly dir: string;
  readonly below: string;
  readonly file: string;
}
const PLACES: readonly Place[] = ROOTS.map(({ root, file }) => {
  const top = join(root, NAME);
  return { top, dir: join(top, 'in'), below: join(top, 'in', 'below'), file };
});

function make(): void {
  for (const { below, dir, file } of PLACES) {
    mkdirSync(below, { recursive: true });
    writeFileSync(join(dir, file), VALUE);
    chmodSync(dir, 0o710);
  }
}

function remove(): void {
  for (const { below, dir, top } of PLACES) {
    for (const one of [below, dir, top]) if (existsSync(one)) rmdirSync(one);
  }
}

async function inPlace(): Promise<Victim> {
  make();
  const victim = await Victim.run(['sleep', '1000'], { silent: true });
  current = victim;
  for (const { dir } of PLACES) writeFileSync(join(dir, 'cgroup.procs'), String(victim.pid));
  return victim;
}

const membership = (pid: number): string => readFileSync(`/proc/${pid}/cgroup`, 'latin1');

/** Ends the process and waits until its cgroups are empty. */
async function end(victim: Victim): Promise<void> {
  victim[Symbol.dispose]();
  await victim.waitGone();
}

let current: Victim | undefined;
afterEach(async () => {
  if (current) await end(current);
  current = undefined;
  remove();
});

/** Machines without any writable hierarchy have nothing to test. */
const here = PLACES.length > 0 ? test : test.skip;

here('missing cgroups are made, with all below them', async () => {
  const victim = await inPlace();
  const before = membership(victim.pid);
  await victim.dump();
  remove();
  await victim.restore();
  expect(membership(victim.pid)).toBe(before);
  for (const { dir, below, file } of PLACES) {
    expect(readFileSync(join(dir, file), 'latin1')).toBe(VALUE);
    expect(statSync(dir).mode & 0o7777).toBe(0o710);
    expect(existsSync(below)).toBe(true);
  }
});

const EXISTING: readonly [mode: string, value: string][] = [
  ['none', '5\n'],
  ['soft', '5\n'],
  ['props', VALUE],
  ['full', VALUE],
];
here.each(EXISTING)('%s: what an existing cgroup has', async (mode, value) => {
  const victim = await inPlace();
  const before = membership(victim.pid);
  await victim.dump();
  for (const { dir, file } of PLACES) writeFileSync(join(dir, file), '5');
  await victim.restore([`--manage-cgroups=${mode}`]);
  expect(membership(victim.pid)).toBe(before);
  for (const { dir, file } of PLACES) expect(readFileSync(join(dir, file), 'latin1')).toBe(value);
});

here('strict refuses what exists, none and props what does not, by name', async () => {
  const victim = await inPlace();
  await victim.dump();
  const strict = await stasis(victim.restoreLine(['--manage-cgroups=strict']));
  remove();
  const none = await stasis(victim.restoreLine(['--manage-cgroups=none']));
  const props = await stasis(victim.restoreLine(['--manage-cgroups=props']));
  expect([strict.status, none.status, props.status]).toEqual([1, 1, 1]);
  expect(strict.stderr).toMatch(/^Error: cgroup .*it exists already/);
  expect(none.stderr).toContain(`${NAME}/in: it does not exist`);
  expect(props.stderr).toContain(`${NAME}/in: it does not exist`);
});

here('ignore leaves the task where the restore is run', async () => {
  const victim = await inPlace();
  await victim.dump();
  remove();
  await victim.restore(['--manage-cgroups=ignore']);
  expect(membership(victim.pid)).toBe(membership(process.pid));
  expect(PLACES.some(({ top }) => existsSync(top))).toBe(false);
});

here('--cgroup-root puts the cgroups elsewhere', async () => {
  const victim = await inPlace();
  await victim.dump(['--cgroup-root', `pids:/${NAME}`, '--cgroup-root', `:/${NAME}`]);
  remove();
  const moved = `/${NAME}/in/below`;
  await victim.restore(['--cgroup-root', `pids:${moved}`, '--cgroup-root', `:${moved}`]);
  const places = membership(victim.pid);
  for (const { below } of PLACES) expect(existsSync(join(below, 'in'))).toBe(true);
  expect(places.split(`:${moved}/in\n`)).toHaveLength(PLACES.length + 1);
  await end(victim);
  for (const { below } of PLACES) {
    rmdirSync(join(below, 'in', 'below'));
    rmdirSync(join(below, 'in'));
  }
});

here('a restore that fails late leaves nothing of it', async () => {
  const victim = await inPlace();
  await victim.dump();
  remove();
  const pidfile = join(victim.dir, 'ask'); // exists already
  const { status, stderr } = await stasis(victim.restoreLine(['--pidfile', pidfile]));
  expect({ status, named: stderr.includes(pidfile) }).toEqual({ status: 1, named: true });
  expect(PLACES.some(({ top }) => existsSync(top))).toBe(false);
  expect(readFileSync(join(victim.images, 'restore.log'), 'latin1')).not.toMatch(/cleaning up/);
});

here('a restore that fails gives an existing cgroup back what it had', async () => {
  const victim = await inPlace();
  await victim.dump();
  for (const { dir, file } of PLACES) {
    writeFileSync(join(dir, file), '5');
    chmodSync(dir, 0o700);
  }
  const { status } = await stasis(victim.restoreLine(['--manage-cgroups=full', '--pidfile', join(victim.dir, 'ask')]));
  expect(status).toBe(1);
  for (const { dir, file } of PLACES) {
    expect(readFileSync(join(dir, file), 'latin1')).toBe('5\n');
    expect(statSync(dir).mode & 0o7777).toBe(0o700);
  }
});

test('a task that is where Stasis is has no image of cgroups', async () => {
  using victim = await Victim.run(['sleep', '1000'], { silent: true });
  await victim.dump();
  expect(existsSync(join(victim.images, 'cgroup.img'))).toBe(false);
  await victim.restore();
});
