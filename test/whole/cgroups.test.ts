/** Cgroups: tasks go back to their places, these are made when missing, and go again when a restore fails. */
import { afterEach, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ImageSet } from '../../src/images/image-set.ts';
import { Images } from '../../src/images/kinds.ts';
import { victimBinary } from './kit/compile.ts';
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
  const said = [strict, none, props].map(({ stderr }) => stderr).join('\n');
  expect([strict.status, none.status, props.status], said).toEqual([1, 1, 1]);
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

here(
  'a cgroup namespace has the root it had, and what is below is made',
  async () => {
    make();
    const enter = PLACES.map(({ dir }) => `echo $$ > ${dir}/cgroup.procs`).join('; ');
    const lists = PLACES.map(({ below }) => join(below, 'cgroup.procs')).join(' ');
    const victim = await Victim.run(['sh', '-c', `${enter}; exec unshare -C ${victimBinary('cgroupns')} ${lists}`]);
    current = victim;
    const before = membership(victim.pid);
    const namespace = readlinkSync(`/proc/${victim.pid}/ns/cgroup`);
    await victim.dump();
    remove();
    await victim.restore();
    expect(membership(victim.pid)).toBe(before);
    expect(readlinkSync(`/proc/${victim.pid}/ns/cgroup`)).not.toBe(readlinkSync('/proc/self/ns/cgroup'));
    expect(namespace).not.toBe(readlinkSync('/proc/self/ns/cgroup'));
    await victim.verdict();
  },
  30_000,
);

here('--cgroup-dump-controller leaves the other hierarchies alone', async () => {
  const victim = await inPlace();
  const [first, ...others] = PLACES;
  if (!first || others.length === 0) return;
  await victim.dump(['--cgroup-dump-controller', 'pids']);
  remove();
  await victim.restore();
  const places = membership(victim.pid);
  expect(places).toContain(`:pids:/${NAME}/in\n`);
  expect(places.split(`/${NAME}/in\n`)).toHaveLength(2);
  for (const { dir } of others) expect(existsSync(dir)).toBe(false);
});

here('--cgroup-props: which control files are carried', async () => {
  const victim = await inPlace();
  const props = (replace: boolean) =>
    `"pids":\n - "strategy": "${replace ? 'replace' : 'merge'}"\n - "properties": ["notify_on_release"]`;
  await victim.dump(['--leave-running', '--cgroup-props', props(false)]);
  const names = () => {
    const [image] = new ImageSet(victim.images).read(Images.cgroup);
    const controller = image?.controllers.find(({ cnames }) => cnames.includes('pids'));
    return controller?.dirs[0]?.properties.map(({ name }) => name) ?? [];
  };
  expect(names()).toContain('pids.max');
  await victim.dump(['--cgroup-props', props(true)]);
  expect(names()).not.toContain('pids.max');
  expect(names()).toContain('notify_on_release');
});

/** A control file of each controller of v2 and what it is set to; of the others a machine may have few. */
const LIMITS: readonly (readonly [file: string, value: string])[] = [
  ['memory.max', '268435456'],
  ['memory.high', '209715200'],
  ['memory.low', '4096'],
  ['memory.min', '8192'],
  ['memory.swap.max', '1048576'],
  ['memory.oom.group', '1'],
  ['cpu.max', '50000 100000'],
  ['cpu.max.burst', '1000'],
  ['cpu.weight', '77'],
  ['cpu.uclamp.max', '80.00'],
  ['pids.max', '55'],
  ['io.weight', 'default 50'],
  ['cpuset.cpus', '0'],
  ['cpuset.mems', '0'],
  ['hugetlb.2MB.max', '4194304'],
];
const UNIFIED = ROOTS.map(({ root }) => root).find((root) => existsSync(join(root, 'cgroup.controllers')));

(UNIFIED === undefined ? test.skip : test)(
  'v2: limits of all controllers, also when these are off',
  async () => {
    const root = UNIFIED ?? '';
    const [top, dir] = [join(root, NAME), join(root, NAME, 'in')];
    const control = (where: string): string => join(where, 'cgroup.subtree_control');
    const on = (where: string): string[] => readFileSync(control(where), 'latin1').trim().split(' ');
    const wanted = readFileSync(join(root, 'cgroup.controllers'), 'latin1').trim().split(' ');
    const enabled = wanted.filter((name) => !on(root).includes(name));
    const turn = (sign: '+' | '-', where: string, names: readonly string[]): void => {
      for (const name of names) writeFileSync(control(where), `${sign}${name}`);
    };
    mkdirSync(dir, { recursive: true });
    try {
      turn('+', root, wanted);
      turn('+', top, wanted);
      const set = LIMITS.filter(([file]) => existsSync(join(dir, file)));
      expect(set.length).toBeGreaterThan(0);
      for (const [file, value] of set) writeFileSync(join(dir, file), value);
      const read = (): string[] => set.map(([file]) => `${file} ${readFileSync(join(dir, file), 'latin1').trim()}`);
      const before = read();
      const victim = await Victim.run(['sleep', '1000'], { silent: true });
      current = victim;
      writeFileSync(join(dir, 'cgroup.procs'), String(victim.pid));
      await victim.dump();
      rmdirSync(dir);
      rmdirSync(top);
      turn('-', root, enabled);
      await victim.restore();
      expect(read()).toEqual(before);
      expect(membership(victim.pid)).toContain(`0::/${NAME}/in\n`);
    } finally {
      if (current) await end(current);
      for (const one of [dir, top]) if (existsSync(one)) rmdirSync(one);
      turn('-', root, enabled);
    }
  },
  30_000,
);

/** The root in one place, its other thread below it, its child where we are. */
async function familyInPlaces(): Promise<Victim> {
  const victim = await Victim.start('threadfds');
  current = victim;
  make();
  for (const { dir, below } of PLACES) {
    writeFileSync(join(dir, 'cgroup.procs'), String(victim.pid));
    const threaded = join(below, 'cgroup.type');
    if (existsSync(threaded)) writeFileSync(threaded, 'threaded');
    const list = existsSync(threaded) ? 'cgroup.threads' : 'tasks';
    for (const tid of othersOf(victim)) writeFileSync(join(below, list), String(tid));
  }
  return victim;
}

function othersOf({ pid }: Victim): number[] {
  const threads = readdirSync(`/proc/${pid}/task`).map(Number);
  return threads.filter((tid) => tid !== pid);
}

/** What is told of every process and thread. */
function memberships(victim: Victim): Record<string, string> {
  const of = (pid: number): [string, string][] =>
    readdirSync(`/proc/${pid}/task`).map((tid) => [tid, membership(Number(tid))]);
  return Object.fromEntries(victim.members().flatMap(of));
}

here('a child that is not where its parent is, and a thread that is not where its process is', async () => {
  const victim = await familyInPlaces();
  const before = memberships(victim);
  expect(new Set(Object.values(before)).size).toBe(3);
  await victim.dump();
  remove();
  await victim.restore();
  expect(memberships(victim)).toEqual(before);
  for (const { dir, file } of PLACES) expect(readFileSync(join(dir, file), 'latin1')).toBe(VALUE);
});

here('cgroups with a whole family in them are gone when a restore fails late', async () => {
  const victim = await familyInPlaces();
  for (const { dir } of PLACES) {
    for (const pid of victim.members().slice(1)) writeFileSync(join(dir, 'cgroup.procs'), String(pid));
  }
  await victim.dump();
  remove();
  const { status, stderr } = await stasis(victim.restoreLine(['--pidfile', join(victim.dir, 'ask')]));
  expect(status).toBe(1);
  const log = readFileSync(join(victim.images, 'restore.log'), 'latin1').slice(-2000);
  expect(
    PLACES.filter(({ top }) => existsSync(top)),
    `${stderr}\n${log}`,
  ).toEqual([]);
});

here('a limit on tasks does not hinder those that were there', async () => {
  const victim = await familyInPlaces();
  const [pids] = PLACES.filter(({ file }) => file === 'pids.max');
  if (pids) writeFileSync(join(pids.dir, pids.file), '1\n');
  await victim.dump();
  remove();
  await victim.restore();
  if (pids) expect(readFileSync(join(pids.dir, pids.file), 'latin1')).toBe('1\n');
});

here('a frozen cgroup is told of', async () => {
  const victim = await inPlace();
  await victim.dump();
  const [v2] = PLACES.filter(({ dir }) => existsSync(join(dir, 'cgroup.freeze')));
  if (!v2) return;
  writeFileSync(join(v2.dir, 'cgroup.freeze'), '1');
  const { status, stderr } = await stasis(victim.restoreLine());
  expect({ status, told: stderr.includes('it is frozen') }).toEqual({ status: 1, told: true });
});

here('hierarchies that are mounted in a yard are used there', async () => {
  const victim = await inPlace();
  const before = membership(victim.pid);
  const yard = join(victim.dir, 'yard');
  mkdirSync(join(yard, 'unified'), { recursive: true });
  const wrong = await stasis(victim.dumpLine(['--cgroup-yard', yard]));
  expect({ status: wrong.status, told: wrong.stderr.includes('not mounted there') }).toEqual({ status: 1, told: true });
  rmdirSync(join(yard, 'unified'));
  for (const { top, file } of PLACES) {
    symlinkSync(dirname(top), join(yard, file === 'pids.max' ? 'pids' : 'unified'));
  }
  await victim.dump(['--cgroup-yard', yard]);
  remove();
  await victim.restore(['--cgroup-yard', yard]);
  expect(membership(victim.pid)).toBe(before);
});

here('--freeze-cgroup freezes it for the freeze only', async () => {
  const victim = await inPlace();
  const before = membership(victim.pid);
  const [v2] = PLACES.filter(({ dir }) => existsSync(join(dir, 'cgroup.freeze')));
  if (!v2) return;
  const frozen = (): string => readFileSync(join(v2.dir, 'cgroup.freeze'), 'latin1');
  const refused = await stasis(victim.dumpLine(['--freeze-cgroup', '/tmp']));
  expect({ status: refused.status, told: refused.stderr.includes('cgroup.freeze') }).toEqual({ status: 1, told: true });
  await victim.dump(['--freeze-cgroup', v2.dir, '--leave-running']);
  expect(frozen()).toBe('0\n');
  await victim.dump(['--freeze-cgroup', v2.dir]);
  expect(frozen()).toBe('0\n');
  await victim.restore();
  expect(membership(victim.pid)).toBe(before);
});
