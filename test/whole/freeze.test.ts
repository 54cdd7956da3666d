/** Freezing whole trees: nobody is missed, nothing moves, and all go on as if nothing had been. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostPid, ownPid } from '../../src/base/brands.ts';
import { StasisError } from '../../src/base/errors.ts';
import { FrozenTree } from '../../src/engine/dump/freeze/freeze.ts';
import { parseStat } from '../../src/kernel/proc/stat.ts';
import { arenaPath, trySyscall } from '../../src/kernel/syscall.ts';
import { strays } from './kit/harm.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** How often the wild ones are frozen: `STASIS_FREEZES=1000` for the proof. */
const FREEZES = Number(process.env.STASIS_FREEZES ?? 25);

/** Ends all a victim has left. */
const started: Victim[] = [];
afterEach(async () => {
  for (const victim of started.splice(0)) {
    victim.kill();
    await until(
      () => {
        const left = strays(victim);
        for (const pid of left) trySyscall('kill', pid, 9);
        for (const pid of left) trySyscall('wait4', pid, 0, 1, 0);
        return left.length === 0 ? true : undefined;
      },
      20_000,
      () => `left: ${strays(victim)}`,
    );
    victim[Symbol.dispose]();
  }
}, 25_000);

async function start(name: string, ...args: string[]): Promise<Victim> {
  const victim = await Victim.start(name, args);
  started.push(victim);
  return victim;
}

function freeze(victim: Victim, timeout = 5, freezeCgroup?: string): FrozenTree {
  return FrozenTree.freeze(hostPid(victim.pid), { timeout, freezeCgroup });
}

/** `stat` of every thread of a process, by id; empty if it is gone. */
function threadStats(pid: number): Map<number, string> {
  try {
    const tids = readdirSync(`/proc/${pid}/task`).map(Number);
    return new Map(tids.map((tid) => [tid, readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1')]));
  } catch {
    return new Map();
  }
}

/** Who traces a process; undefined if it is gone. */
function tracer(pid: number): number | undefined {
  try {
    return Number(/^TracerPid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
  } catch {
    return undefined;
  }
}

function parentOf(pid: number): number | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`)).ppid;
  } catch {
    return undefined;
  }
}

/** All processes below a root, by the parents that /proc names: not the way the product looks. */
function descendants(root: number): Set<number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) parents.set(Number(name), parent);
  }
  const found = new Set([root]);
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  }
  return found;
}

/** Everything that would change if one of the tasks ran. */
function picture(tree: FrozenTree, victim: Victim): string {
  const stats = tree.processes.map(({ pid }) => [...threadStats(pid).values()].join(''));
  const files = readdirSync(victim.cwd).map((name) => readFileSync(join(victim.cwd, name)).toString('hex'));
  return [...stats, ...files].join('\n');
}

/** Throws unless every task of the tree stands in a stop of ours, and none is missed. */
function expectWhole(tree: FrozenTree, root: number): void {
  const pids: readonly number[] = tree.processes.map(({ pid }) => pid);
  expect(pids[0]).toBe(root);
  expect(new Set(pids)).toEqual(descendants(root));
  expect(pids.length).toBe(new Set(pids).size);
  for (const { pid, parent, threads, zombie } of tree.processes) {
    if (pid !== root) expect(pids.indexOf(parent)).toBeLessThan(pids.indexOf(pid));
    const stats = threadStats(pid);
    const states = [...stats.values()].map((line) => parseStat(Buffer.from(line, 'latin1')).state);
    expect([pid, ...states]).toEqual([pid, ...states.map(() => (zombie ? 'Z' : 't'))]);
    const [main, ...rest] = stats.keys();
    expect(threads.map(({ tid }): number => tid)).toEqual(zombie ? [] : [main ?? 0, ...rest.sort((a, b) => a - b)]);
    expect(stats.size).toBeGreaterThan(0);
  }
}

/** Freezes a victim again and again, looks, and lets it go on for a while. */
async function freezeOften(victim: Victim, times: number, timeout?: number): Promise<FrozenTree['processes'][]> {
  const found: FrozenTree['processes'][] = [];
  for (let i = 0; i < times; i++) {
    {
      using tree = freeze(victim, timeout);
      expectWhole(tree, victim.pid);
      const before = picture(tree, victim);
      if (i % 5 === 0) await sleep(10);
      expect(picture(tree, victim)).toBe(before);
      found.push(tree.processes);
    }
    await sleep(Math.random() * 8);
  }
  return found;
}

function progress(victim: Victim): bigint {
  return readFileSync(join(victim.cwd, 'progress')).readBigUInt64LE();
}

describe('wild trees', () => {
  test('one that forks, orphans, executes and exits all the time', async () => {
    const victim = await start('freeze-forker', '8');
    await sleep(100);
    const found = await freezeOften(victim, FREEZES);
    expect(Math.max(...found.map((processes) => processes.length))).toBeGreaterThan(9);
    await victim.verdict();
  }, 120_000);

  test('orphans that leave the tree are let go', async () => {
    const victim = await start('freeze-forker', '8', 'leave');
    for (let i = 0; i < FREEZES; i++) {
      {
        using tree = freeze(victim);
        const members = new Set<number>(tree.processes.map(({ pid }) => pid));
        for (const pid of strays(victim)) {
          if (!members.has(pid)) expect(tracer(pid) ?? 0).toBe(0);
        }
        expect(members).toEqual(descendants(victim.pid));
      }
      await sleep(Math.random() * 8);
    }
    await victim.verdict();
  }, 120_000);

  test('threads that start a thread and end', async () => {
    const victim = await start('freeze-threads', '6');
    await freezeOften(victim, FREEZES);
    const before = progress(victim);
    await sleep(20);
    expect(progress(victim)).toBeGreaterThan(before);
    await victim.verdict();
  }, 120_000);

  test('a thread that is not the main one executes programs, beside others', async () => {
    const victim = await start('freeze-exec', '10');
    await freezeOften(victim, 4 * FREEZES);
    // Not by verdict(): while another thread executes a program, the main thread looks as if the process were dead.
    writeFileSync(join(victim.dir, 'ask'), 'ask\n');
    await until(
      () => /^PASS$/m.exec(victim.output())?.[0],
      5000,
      () => `it said ${victim.output()}`,
    );
  }, 120_000);
});

describe('vfork', () => {
  test('parents that wait for a slow child stop when it has executed a program', async () => {
    const victim = await start('freeze-vfork', '10', '3');
    await freezeOften(victim, FREEZES);
    await victim.verdict();
  }, 120_000);

  test('the tree goes on while a child takes longer than it may be held', async () => {
    const victim = await start('freeze-vfork', '400');
    await sleep(50);
    const began = performance.now();
    const tree = freeze(victim);
    expectWhole(tree, victim.pid);
    tree[Symbol.dispose]();
    expect(performance.now() - began).toBeGreaterThan(200);
    await victim.verdict();
  }, 120_000);

  test('a child that never does: an error that names both, and all go on', async () => {
    const victim = await start('freeze-vfork', '-1');
    await sleep(20);
    const [child] = [...descendants(victim.pid)].filter((pid) => pid !== victim.pid);
    const began = performance.now();
    let error: unknown;
    try {
      freeze(victim, 0.5);
    } catch (thrown) {
      error = thrown;
    }
    expect(performance.now() - began).toBeLessThan(1000);
    expect(error).toBeInstanceOf(StasisError);
    expect(error).toMatchObject({
      kind: 'conflict',
      task: { pid: victim.pid },
      resource: `child ${child} (freeze-vfork)`,
    });
    expect(String((error as StasisError).remedy)).toContain('--timeout');
    const status = readFileSync(`/proc/${child}/status`, 'latin1');
    expect(status).toMatch(/^State:\tS/m);
    expect(status).toMatch(/^TracerPid:\t0/m);
    await sleep(50);
    expect(victim.output()).not.toContain('FAIL');
  }, 120_000);
});

describe('families', () => {
  test('zombies, stopped ones and children of threads', async () => {
    const victim = await start('freeze-family');
    for (const processes of await freezeOften(victim, 3)) {
      const stops = processes.map(({ threads }) => threads.map(({ tracee }) => tracee.groupStop));
      expect(processes.map(({ zombie }) => zombie)).toEqual([false, true, false, false, false, false]);
      expect(stops).toEqual([[undefined], [], [19], [20, 20, 20, 20], [undefined, undefined, undefined], [undefined]]);
      expect(processes.map(({ parent }) => parent === victim.pid)).toEqual([false, true, true, true, true, false]);
    }
    await victim.verdict();
  }, 30_000);

  test('a dead main thread is refused by name', async () => {
    const victim = await start('freeze-family', 'headless');
    expect(() => freeze(victim)).toThrow(/main thread has ended/);
    await victim.verdict();
  }, 30_000);

  test('a task that somebody else traces is refused, and the rest goes on', async () => {
    const victim = await start('freeze-family');
    const [, child = 0] = [...descendants(victim.pid)].filter((pid) => pid !== victim.pid);
    const gdb = Bun.spawn(['strace', '-o', '/dev/null', '-p', String(child)], { stderr: 'ignore' });
    await until(
      () => (/TracerPid:\t[1-9]/.test(readFileSync(`/proc/${child}/status`, 'latin1')) ? true : undefined),
      3000,
      () => 'strace does not attach',
    );
    expect(() => freeze(victim)).toThrow(/does not let Stasis trace/);
    expect(readFileSync(`/proc/${victim.pid}/status`, 'latin1')).toMatch(/TracerPid:\t0/);
    gdb.kill('SIGKILL');
    await gdb.exited;
  }, 30_000);
});

describe('many', () => {
  test('1,000 threads asleep in different calls keep their times', async () => {
    const victim = await start('freeze-sleepers', '1000');
    const times: number[] = [];
    for (let i = 0; i < 3; i++) {
      const began = performance.now();
      const tree = freeze(victim);
      times.push(performance.now() - began);
      expectWhole(tree, victim.pid);
      expect(tree.processes[0]?.threads.length).toBe(1001);
      tree[Symbol.dispose]();
      await sleep(50);
    }
    console.log(`1,000 sleeping threads: ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    await victim.verdict();
  }, 120_000);
});

describe('our death at any moment', () => {
  const wild = ['freeze-forker 8', 'freeze-threads 6', 'freeze-vfork 10 3', 'freeze-sleepers 300'];

  test.each(wild)(
    'lets all go on: %s',
    async (line) => {
      const [name = '', ...args] = line.split(' ');
      const victim = await start(name, ...args);
      const script = join(import.meta.dirname, 'kit/freeze-once.ts');
      for (let i = 0; i < 8; i++) {
        const ours = Bun.spawn([process.execPath, script, String(victim.pid)], { stderr: 'ignore' });
        await sleep(60 + Math.random() * 60);
        ours.kill('SIGKILL');
        await ours.exited;
      }
      await until(
        () => {
          const stats = [...descendants(victim.pid)].flatMap((pid) => [...threadStats(pid).values()]);
          return stats.some((line) => /\) [tT] /.test(line)) ? undefined : true;
        },
        2000,
        () => 'somebody is still stopped',
      );
      await victim.verdict();
    },
    60_000,
  );
});

const HIERARCHIES = [
  ['v1', '/sys/fs/cgroup/freezer', 'freezer.state', 'THAWED', 'FROZEN'],
  ['v2', '/sys/fs/cgroup/unified', 'cgroup.freeze', '0', '1'],
] as const;

describe.each(HIERARCHIES)('freezer cgroup %s', (_version, root, control, thawed, frozen) => {
  const path = join(root, `stasis-freeze-${process.pid}`);
  const set = (state: string): void => writeFileSync(join(path, control), state);
  const state = (): string => readFileSync(join(path, control), 'latin1').trim();
  const usable = existsSync(join(root, 'cgroup.procs'));

  beforeAll(() => {
    if (usable) mkdirSync(path);
  });
  afterEach(() => {
    if (usable && state() !== thawed) set(thawed);
  });
  afterAll(async () => {
    if (!usable) return;
    // What has ended leaves it a moment later.
    await until(
      () => trySyscall('rmdir', arenaPath(path)) === 0 || undefined,
      5000,
      () => `cannot remove ${path}`,
    );
  });

  async function inside(name: string, ...args: string[]): Promise<Victim> {
    const victim = await start(name, ...args);
    for (const pid of descendants(victim.pid)) {
      try {
        writeFileSync(join(path, 'cgroup.procs'), String(pid));
      } catch {
        // It has ended meanwhile.
      }
    }
    return victim;
  }

  test.skipIf(!usable)(
    'a wild tree, and one beside it',
    async () => {
      const other = await inside('freeze-threads', '2');
      const victim = await inside('freeze-forker', '4');
      for (let i = 0; i < FREEZES; i++) {
        const tree = freeze(victim, 5, path);
        expectWhole(tree, victim.pid);
        expect(state()).toBe(thawed);
        const before = progress(other);
        await sleep(2);
        expect(progress(other)).toBe(before);
        tree[Symbol.dispose]();
        await sleep(Math.random() * 5);
      }
      await victim.verdict();
      await other.verdict();
    },
    60_000,
  );

  test.skipIf(!usable)(
    'one that was frozen before is again afterwards',
    async () => {
      const victim = await inside('freeze-forker', '4');
      await sleep(20);
      set(frozen);
      await sleep(50);
      for (let i = 0; i < 3; i++) {
        const tree = freeze(victim, 5, path);
        expectWhole(tree, victim.pid);
        expect(state()).toBe(thawed);
        tree[Symbol.dispose]();
        expect(state()).toBe(frozen);
      }
      set(thawed);
      await victim.verdict();
    },
    60_000,
  );

  test.skipIf(!usable)(
    'our death at any moment leaves it as it was',
    async () => {
      const victim = await inside('freeze-forker', '4');
      const script = join(import.meta.dirname, 'kit/freeze-once.ts');
      for (let i = 0; i < 10; i++) {
        const ours = Bun.spawn([process.execPath, script, String(victim.pid), path], { stderr: 'ignore' });
        await sleep(20 + i * 8);
        ours.kill('SIGKILL');
        await ours.exited;
        await until(
          () => (state() === thawed ? true : undefined),
          1000,
          () => `still ${state()}`,
        );
      }
      await victim.verdict();
    },
    60_000,
  );
});

test('the time is up before anybody was given any: a machine that was suspended', async () => {
  const victim = await start('freeze-family');
  for (let i = 0; i < 5; i++) {
    using tree = freeze(victim, 1e-6);
    expect(tree.processes.length).toBe(6);
  }
  await victim.verdict();
}, 60_000);

test('a tree that has us in it is refused', () => {
  expect(() => FrozenTree.freeze(ownPid(), { timeout: 5, freezeCgroup: undefined })).toThrow(
    /Stasis itself .* is in this tree/,
  );
});

test('what is no cgroup, or has us in it, is refused', async () => {
  const victim = await start('freeze-threads', '1');
  expect(() => freeze(victim, 5, '/tmp')).toThrow(/neither freezer.state nor cgroup.freeze/);
  await victim.verdict();
});
