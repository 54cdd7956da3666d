/** Namespaces that no process of a tree is in, and that it keeps: by descriptors, and by mounts. */
import { describe, expect, test } from 'bun:test';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { victimBinary } from './kit/compile.ts';
import { stasis } from './kit/stasis.ts';
import { type StartOptions, Victim } from './kit/victim.ts';

const LIMIT = 60_000;

describe('kept by descriptors', () => {
  const rows: readonly (readonly [string, readonly string[], StartOptions])[] = [
    ['of our user namespace', [], {}],
    ['of one that is kept as well', ['user'], {}],
    ['of one that nothing keeps but them', ['owner'], {}],
    ['in a tree with PID and mount namespaces', [], { unshare: ['--pid', '--mount-proc', '--net', '--ipc'] }],
    ['in a tree with a user namespace', [], { unshare: ['--map-root-user', '--pid', '--mount-proc', '--net'] }],
  ];
  test.each(rows)(
    '%s',
    async (_, args, start) => {
      using victim = await Victim.start('heldns', args, start);
      if (victim.skipped) return;
      await victim.dump(['--leave-running']);
      for (let cycle = 0; cycle < 3; cycle++) await victim.cycle();
      await victim.verdict();
    },
    LIMIT,
  );
});

describe('mount, PID and cgroup namespaces, kept by descriptors', () => {
  const rows: readonly (readonly [string, StartOptions])[] = [
    ['of our own namespaces', {}],
    ['in a tree with PID and mount namespaces', { unshare: ['--pid', '--mount-proc', '--net'] }],
    ['in a tree with a user namespace', { unshare: ['--map-root-user', '--pid', '--mount-proc'] }],
  ];
  test.each(rows)(
    '%s',
    async (_, start) => {
      using victim = await Victim.start('heldspaces', [], start);
      await victim.dump(['--leave-running']);
      for (let cycle = 0; cycle < 3; cycle++) await victim.cycle();
      await victim.verdict();
    },
    LIMIT,
  );

  test(
    'a cgroup that exists no more is made again for the root of a cgroup namespace',
    async () => {
      const at = `/sys/fs/cgroup/pids/stasis-held-${process.pid}`;
      mkdirSync(at);
      try {
        using victim = await Victim.start('heldspaces', [at]);
        await victim.cycle();
        await victim.dump();
        rmdirSync(at);
        await victim.restore();
        expect(existsSync(at)).toBe(true);
        await victim.verdict();
      } finally {
        if (existsSync(at)) rmdirSync(at);
      }
    },
    LIMIT,
  );

  test('a cgroup namespace whose root was removed is refused', async () => {
    const at = `/sys/fs/cgroup/pids/stasis-held-${process.pid}`;
    mkdirSync(at);
    using victim = await Victim.start('heldspaces', [at]);
    rmdirSync(at);
    const { status, stderr } = await stasis(victim.dumpLine());
    expect(status).toBe(1);
    expect(stderr).toContain('its root cannot be found: it may have been removed');
  });
});

/** Processes that were started beside the victim, and files that namespaces were mounted on. */
class Beside implements Disposable {
  readonly #processes: ChildProcess[] = [];
  readonly #mounted: string[] = [];

  /** Starts a program that answers with a line when it is ready. */
  async run(command: readonly string[]): Promise<number> {
    const [file = '', ...args] = command;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#processes.push(child);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    return child.pid ?? 0;
  }

  mount(namespace: string, at: string): void {
    writeFileSync(at, '');
    expect(spawnSync('mount', ['--bind', namespace, at]).status).toBe(0);
    this.#mounted.push(at);
  }

  unmount(): void {
    for (const at of this.#mounted.splice(0)) expect(spawnSync('umount', [at]).status).toBe(0);
  }

  [Symbol.dispose](): void {
    for (const process of this.#processes) process.kill('SIGKILL');
    this.unmount();
  }
}

const IDLE = 'echo; exec sleep 1000';

/** Starts a program with a network namespace open as number 5, in which nobody else is. */
async function holding(): Promise<Victim> {
  const inner = 'mkfifo ready gone; unshare --net sh -c "echo > ready; read x < gone" & read x < ready;';
  const outer = `${inner} exec 5< /proc/$!/ns/net; echo > gone; wait; rm ready gone; exec "$@"`;
  return Victim.run(['bash', '-c', outer, 'bash', victimBinary('heap')], {});
}

const networkOf = (pid: number): string => readlinkSync(`/proc/${pid}/fd/5`);

test('one that others outside are in, or have open, is refused', async () => {
  using beside = new Beside();
  using victim = await holding();
  const file = `/proc/${victim.pid}/fd/5`;
  const other = await beside.run(['bash', '-c', `exec 7< ${file}; ${IDLE}`]);
  const open = await stasis(victim.dumpLine());
  expect(open.status).toBe(1);
  expect(open.stderr).toContain(`a process outside of the tree (${other}) has this namespace open as well`);
  const member = await beside.run(['nsenter', `--net=${file}`, 'bash', '-c', IDLE]);
  const inside = await stasis(victim.dumpLine());
  expect(inside.stderr).toContain(`a process outside of the tree (${member}) is in this namespace`);
  expect(inside.stderr).toContain(`--external 'net[${/\d+/.exec(networkOf(victim.pid))}]:NAME'`);
  // Given at the restore, it is that of the machine again.
  const before = networkOf(victim.pid);
  await victim.dump(['--external', `net[${/\d+/.exec(before)}]:outer`]);
  await victim.restore(['--inherit-fd', 'fd[7]:outer'], {
    wrapper: ['sh', '-c', 'exec 7<"$0"; exec "$@"', `/proc/${member}/ns/net`],
  });
  expect(networkOf(victim.pid)).toBe(before);
  await victim.verdict();
}, 60_000);

test('one that a thread outside is in, or that is mounted where others are, is refused', async () => {
  using beside = new Beside();
  using victim = await holding();
  const file = `/proc/${victim.pid}/fd/5`;
  const at = join(victim.dir, 'elsewhere');
  writeFileSync(at, '');
  const mounts = await beside.run(['unshare', '--mount', 'bash', '-c', `mount --bind ${file} ${at}; ${IDLE}`]);
  const shown = await stasis(victim.dumpLine());
  expect(shown.status).toBe(1);
  expect(shown.stderr).toContain(`(${mounts}) is in a mount namespace where this namespace is mounted`);
  const script = `
import ctypes, os, threading, time
def stay():
  file = os.open("${file}", os.O_RDONLY)
  assert ctypes.CDLL(None).setns(file, 0) == 0
  os.close(file)
  print("in", flush=True)
  time.sleep(1000)
threading.Thread(target=stay).start()`;
  const threads = await beside.run(['/usr/bin/python3', '-c', script]);
  const inside = await stasis(victim.dumpLine());
  expect(inside.stderr).toContain(`a process outside of the tree (${threads}) is in this namespace`);
  await victim.verdict();
}, 60_000);

test('one that is mounted on a file of the machine is opened by that', async () => {
  using victim = await holding();
  using beside = new Beside();
  const before = networkOf(victim.pid);
  const at = join(victim.dir, 'bound');
  beside.mount(`/proc/${victim.pid}/fd/5`, at);
  await victim.dump();
  await victim.restore();
  expect(networkOf(victim.pid)).toBe(before);
  await victim.dump();
  beside.unmount();
  const { status, stderr } = await stasis(victim.restoreLine());
  expect(status).toBe(1);
  expect(stderr).toContain('the tree had a net namespace open that was mounted on this file; none is mounted there');
  beside.mount('/proc/self/ns/net', at);
  await victim.restore();
  expect(networkOf(victim.pid)).toBe(readlinkSync('/proc/self/ns/net'));
  await victim.verdict();
}, 60_000);

test('made again, it is not that of the machine', async () => {
  using victim = await holding();
  await victim.cycle();
  expect(networkOf(victim.pid)).not.toBe(readlinkSync('/proc/self/ns/net'));
  expect(readFileSync(`/proc/${victim.pid}/fdinfo/5`, 'utf8')).toMatch(/flags:\s+0100000/);
  await victim.verdict();
}, 60_000);

/** Runs a script in the mount namespace of a process. */
function inMounts(pid: number, script: string): string {
  const options = ['-t', String(pid), '-m', '-p', 'sh', '-c', script];
  const { stdout, stderr } = spawnSync('nsenter', options, { encoding: 'utf8' });
  return `${stdout}${stderr}`;
}

describe('kept by sockets', () => {
  test.each([[{}], [{ unshare: ['--pid', '--mount-proc', '--net'] }]])(
    '%j',
    async (start: StartOptions) => {
      using victim = await Victim.start('heldns', ['sockets'], start);
      await victim.dump(['--leave-running', '--tcp-established']);
      for (let cycle = 0; cycle < 3; cycle++)
        await victim.cycle({ dump: ['--tcp-established'], restore: ['--tcp-established'] });
      await victim.verdict();
    },
    LIMIT,
  );
});

describe('kept by mounts', () => {
  // A host name, a queue, a device that is up; `d` has a process in it, `o` is that of the machine.
  const SCRIPT = `
    mkdir run; mount -t tmpfs run run; mount --make-shared run
    mount --make-private run; for i in a b c d o u w; do : > run/$i; done
    unshare --net=run/a --uts=run/b --ipc=run/c sh -c 'hostname mounted; ip link set lo up; ipcmk -Q -p 0640' > /dev/null
    unshare --uts=run/d sh -c 'hostname inhabited; exec sleep 1000' &
    until grep -q 'run/d ' /proc/self/mountinfo && test "$(nsenter --uts=run/d hostname)" = inhabited; do :; done
    mount --bind /proc/self/ns/net run/o
    unshare --user --net --map-root-user sh -c 'ip link set lo up; echo > run/go; exec sleep 1000' & inner=$!
    until test -e run/go; do :; done; rm run/go
    for it in net:w user:u; do mount --bind /proc/$inner/ns/\${it%:*} run/\${it#*:}; done
    kill -9 $inner; wait $inner || :
    mount --make-rshared run
    exec 5< run/a
    exec "$@"`;
  const LOOK = (at: string): string => `
    cd ${at}
    nsenter --net=run/a ip -br link; nsenter --uts=run/b hostname
    nsenter --ipc=run/c ipcs -q | tail -n +4 | cut -d ' ' -f 3-
    nsenter --uts=run/d hostname
    nsenter --net=run/w ip -br link; nsenter --user=run/u cat /proc/self/uid_map
    grep ' nsfs ' /proc/self/mountinfo | cut -d ' ' -f 5-6 | grep ^${at}/ | sort`;

  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['in one mount namespace', SCRIPT, ['--mount', '--pid', '--mount-proc']],
    [
      'in two that share them',
      SCRIPT.replace('exec "$@"', 'unshare --mount --propagation unchanged sleep 1000 & sleep 0.2; exec "$@"'),
      ['--mount', '--pid', '--mount-proc', '--net'],
    ],
  ];
  test.each(rows)(
    '%s',
    async (_, script, unshare) => {
      using victim = await Victim.run(['sh', '-ec', script, 'sh', victimBinary('heap')], { unshare });
      const look = (): string[] => victim.members().map((pid) => inMounts(pid, LOOK(victim.cwd)));
      const before = look();
      expect(before[0]).toMatch(/lo +UNKNOWN.*\nmounted\n[\s\S]* 640 [\s\S]*inhabited\nlo +UNKNOWN.*\n +0 +0 +1\n/);
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.dump();
        await victim.restore();
        expect(look()).toEqual(before);
        const { pid } = victim;
        const same = `readlink /proc/self/ns/net; nsenter --net=${victim.cwd}/run/o readlink /proc/self/ns/net`;
        expect(
          new Set(
            spawnSync('nsenter', ['-t', String(pid), '-m', '-n', '-p', 'sh', '-c', same])
              .stdout.toString()
              .trim()
              .split('\n'),
          ).size,
        ).toBe(1);
        expect(readlinkSync(`/proc/${pid}/fd/5`)).toBe(join(victim.cwd, 'run/a'));
        const ino = inMounts(pid, `stat -Lc %i ${victim.cwd}/run/a`).trim();
        expect(
          spawnSync('stat', ['-Lc', '%i', `/proc/${pid}/fd/5`])
            .stdout.toString()
            .trim(),
        ).toBe(ino);
      }
      await victim.verdict();
    },
    LIMIT,
  );
});

describe('kept by mounts, and made after these', () => {
  // t: clocks that are ahead; p: nobody is in it; q: that of the script; g: its root is that of the script; m: a file
  // system in it, n: a process.
  // A namespace can be mounted where an older one is, by numbers that each processor gives (Linux 6.18).
  const SCRIPT = `
    made() { taskset -c 0 unshare --mount=run/$1 true || taskset -c 1 unshare --mount=run/$1 true; } 2> /dev/null
    mkdir run place; mount -t tmpfs run run; mount --make-private run; for i in t p q g m n; do : > run/$i; done
    unshare --time=run/t --boottime 36000 true
    unshare --pid=run/p --fork true
    mount --bind /proc/self/ns/pid run/q
    unshare --cgroup=run/g true
    until made m; do :; done
    until made n; do :; done
    nsenter --mount=run/m sh -c "cd $PWD; mount -t tmpfs inner place; echo inside > place/file"
    nsenter --mount=run/n sh -c "cd $PWD; mount -t tmpfs other place; echo inhabited > place/file; exec sleep 1000" &
    until test "$(nsenter --mount=run/n cat $PWD/place/file)" = inhabited; do :; done 2> /dev/null
    SHARE
    exec 5< run/t 6< run/m
    exec "$@"`;
  const LOOK = (at: string): string => `
    cd ${at}
    uptime() { cut -d. -f1 /proc/uptime; }
    echo $(($(nsenter --time=run/t cut -d. -f1 /proc/uptime) - $(cut -d. -f1 /proc/uptime) > 35000))
    nsenter --pid=run/p true 2>&1
    test "$(readlink /proc/1/ns/pid)" = "pid:[$(stat -c %i run/q)]" && echo same
    nsenter --cgroup=run/g cat /proc/self/cgroup | grep pids
    for i in m n; do nsenter --mount=run/$i cat ${at}/place/file; done
    nsenter --mount=run/m grep -c ' nsfs ' /proc/self/mountinfo
    stat -Lc %i run/t run/m | tr '\n' ' ' > seen; stat -Lc %i /proc/1/fd/5 /proc/1/fd/6 | tr '\n' ' ' | cmp - seen
    grep ' nsfs ' /proc/self/mountinfo | cut -d ' ' -f 5-6,7 | sed 's/shared:.*/shared/' | grep ^${at}/ | sort`;

  test.each([
    ['private', ''],
    ['shared', 'mount --make-rshared run'],
  ])(
    '%s',
    async (_, share) => {
      const script = SCRIPT.replace('SHARE', share);
      const unshare = ['--mount', '--pid', '--mount-proc'];
      using victim = await Victim.run(['sh', '-ec', script, 'sh', victimBinary('heap')], { unshare });
      const look = (): string => inMounts(victim.pid, LOOK(victim.cwd));
      const before = look();
      expect(before).toMatch(/^1\n.*Cannot allocate memory\nsame\n.*:pids:\/.*\ninside\ninhabited\n\d\n\/.*run\/g /s);
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.dump();
        await victim.restore();
        expect(look()).toEqual(before);
      }
      await victim.verdict();
    },
    LIMIT,
  );
});
