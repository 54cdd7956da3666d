import { describe, expect, test } from 'bun:test';
import type { Invocation } from '../../../src/api/invocation.ts';
import { defaultSettings, type Settings } from '../../../src/api/settings.ts';
import { ObstacleError, StasisError } from '../../../src/base/errors.ts';
import { readCommandLine } from '../../../src/cli/commandline.ts';

const NO_FILES = ['--no-default-config'];

function request(line: string, env: Record<string, string> = {}): ReturnType<typeof readCommandLine> {
  return readCommandLine([...NO_FILES, ...line.split(' ').filter((word) => word !== '')], env);
}

/** The invocation of a command line that nothing stands against. */
function invocation(line: string, env?: Record<string, string>): Invocation {
  const asked = request(line, env);
  if (asked.action !== 'run') throw new Error(asked.action);
  if (asked.refusal) throw asked.refusal;
  return asked.invocation;
}

function refusal(line: string): StasisError | undefined {
  const asked = request(line);
  return asked.action === 'run' ? asked.refusal : undefined;
}

describe('settings', () => {
  test('without options they are CRIU’s defaults', () => {
    expect(invocation('restore').settings).toEqual(defaultSettings());
    expect(defaultSettings()).toMatchObject({
      imagesDir: '.',
      verbosity: 2,
      timeout: 10,
      ghostLimit: 1 << 20,
      fileValidation: 'buildid',
      manageCgroups: 'soft',
      networkLock: 'nftables',
      finalState: 'dead',
      cpuCap: { fpu: true, ins: true, cpu: false, image: false },
    });
  });

  const cases: [line: string, settings: Partial<Settings>][] = [
    ['dump -t 17 -D /i -W /w -o log', { tree: 17, imagesDir: '/i', workDir: '/w', logFile: 'log' }],
    ['dump -t 1 --tree 2', { tree: 2 }],
    ['dump -t1 -R', { finalState: 'running' }],
    ['dump -t1 -s', { finalState: 'stopped' }],
    ['dump -t1 -R -s', { finalState: 'stopped' }],
    ['dump -t1 -s -R', { finalState: 'running' }],
    ['restore -d -S', { detached: true, restoreSibling: true }],
    ['restore --daemon', { detached: true }],
    ['restore -d --no-restore-detached', { detached: false }],
    ['restore -j --no-shell-job', { shellJob: false }],
    ['restore --no-shell-job -j', { shellJob: true }],
    ['dump -t1 --ghost-limit 512', { ghostLimit: 512 }],
    ['dump -t1 --ghost-limit 64K', { ghostLimit: 65536 }],
    ['dump -t1 --ghost-limit=3M', { ghostLimit: 3 << 20 }],
    ['dump -t1 --ghost-limit 2G', { ghostLimit: 2 ** 31 }],
    ['dump -t1 --timeout 0', { timeout: 0 }],
    ['dump -t1 --file-validation filesize', { fileValidation: 'filesize' }],
    ['dump -t1 --network-lock none', { networkLock: 'skip' }],
    ['dump -t1 --network-lock nftables', { networkLock: 'nftables' }],
    ['dump -t1 --manage-cgroups', { manageCgroups: 'soft' }],
    ['dump -t1 --manage-cgroups=full', { manageCgroups: 'full' }],
    ['dump -t1 -x', { extUnixSk: true, extUnixInodes: [] }],
    ['dump -t1 -x12,34 --ext-unix-sk=56', { extUnixSk: true, extUnixInodes: [12, 34, 56] }],
    ['dump -t1 --external a --external b', { external: ['a', 'b'] }],
    ['dump -t1 --action-script a --action-script b', { actionScript: ['a', 'b'] }],
    ['restore --inherit-fd fd[5]:pipe:[123]', { inheritFd: [{ fd: 5, key: 'pipe:[123]' }] }],
    ['check --all', { extra: true, experimental: true }],
    ['check --all --no-extra', { extra: false, experimental: true }],
    ['check --feature a --feature b', { feature: ['a', 'b'] }],
    ['check --close 7', { closeFds: [7] }],
    ['check --json', { json: true }],
    ['restore --pidfile p', { pidfile: 'p' }],
  ];
  test.each(cases)('%s', (line, settings) => {
    expect(invocation(line).settings).toMatchObject(settings);
  });

  const levels: [options: string, level: number][] = [
    ['', 2],
    ['-v', 3],
    ['-vv', 4],
    ['-vvvvvv', 4],
    ['-v -v', 4],
    ['-v0', 0],
    ['-v1', 1],
    ['-v4', 4],
    ['-v9', 4],
    ['-v1 -v', 2],
    ['-v1 -vv', 3],
    ['--verbosity', 3],
    ['--verbosity=4', 4],
    ['--verbosity=0', 0],
    ['-verbosity=0', 0],
    ['-v-3', 0],
  ];
  test.each(levels)('verbosity of "%s"', (options, level) => {
    expect(invocation(`check ${options}`).settings.verbosity).toBe(level as 0);
  });

  const caps: [list: string, caps: string][] = [
    ['', 'fpu ins'],
    ['--cpu-cap', 'fpu ins cpu image'],
    ['--cpu-cap=none', ''],
    ['--cpu-cap=cpu', 'fpu ins cpu image'],
    ['--cpu-cap=none,cpu', 'cpu image'],
    ['--cpu-cap=all,^ins', 'fpu cpu image'],
    ['--cpu-cap=^fpu', 'ins image'],
    ['--cpu-cap=^none', 'fpu ins cpu image'],
  ];
  test.each(caps)('%s', (list, expected) => {
    const asked = request(`dump -t1 ${list}`);
    if (asked.action !== 'run') throw new Error(asked.action);
    const { cpuCap } = asked.invocation.settings;
    expect((['fpu', 'ins', 'cpu', 'image'] as const).filter((cap) => cpuCap[cap]).join(' ')).toBe(expected);
  });

  test('the environment', () => {
    expect(invocation('check', { CRIU_DEPRECATED: '1' }).settings.deprecated).toBe(true);
    expect(invocation('check', { CRIU_LIBS_DIR: '/l' }).settings.libdir).toBe('/l');
    expect(invocation('check -L /m', { CRIU_LIBS_DIR: '/l' }).settings.libdir).toBe('/m');
  });

  test('fresh defaults each time', () => {
    invocation('restore --external a');
    expect(invocation('restore').settings.external).toEqual([]);
  });
});

describe('commands and operands', () => {
  const cases: [line: string, command: string, operands: string[]][] = [
    ['dump -t1', 'dump', []],
    ['-t1 dump', 'dump', []],
    ['restore --exec-cmd -- prog -d --help', 'restore', ['prog', '-d', '--help']],
    ['restore --exec-cmd prog', 'restore', ['prog']],
    ['exec -p 5 lseek 3 -1 2', 'exec', ['lseek', '3', '-1', '2']],
    ['exec -p 5 write 1 --help', 'exec', ['write', '1', '--help']],
    ['crit decode -i x --pretty', 'crit', ['decode', '-i', 'x', '--pretty']],
    ['crit --help', 'crit', ['--help']],
    ['show core-1.img -v', 'show', ['core-1.img']],
  ];
  test.each(cases.slice(0, -1))('%s', (line, command, operands) => {
    expect(invocation(line)).toMatchObject({ command: command as 'dump', operands });
  });

  test('help and version, wherever they stand', () => {
    for (const line of ['--help', '-h', 'dump --help', '--h', 'dump -Rh', '--bogus --help', 'dump -t x --help']) {
      expect(request(line).action).toBe('help');
    }
    expect(request('restore --exec-cmd -- prog --help').action).toBe('run');
    for (const line of ['--version', '-V', '--vers', 'dump -V']) expect(request(line).action).toBe('version');
  });

  test('help and completion are commands, too', () => {
    for (const line of ['help dump', 'dump --help', 'dump -t x --help', '--help dump', '--bogus dump -h']) {
      expect(request(line)).toEqual({ action: 'help', topic: 'dump' });
    }
    for (const line of ['help', '--help', '--bogus --help', 'bogus --help']) {
      expect(request(line)).toEqual({ action: 'help', topic: undefined });
    }
    expect(request('completion zsh')).toEqual({ action: 'completion', shell: 'zsh' });
  });

  test('options that callers give to several commands are noted, not refused', () => {
    // The ZDTM driver gives its dump options to everything, --pre-dump-mode always.
    const { notes } = invocation('dump -t1 --pre-dump-mode splice --pidfile x --skip-file-rwx-check');
    expect(notes).toEqual([
      expect.stringMatching(/^--pre-dump-mode changes nothing here: it is a matter of pre-dumps/),
      expect.stringMatching(/^--pidfile changes nothing here: callers/),
      expect.stringMatching(/^--skip-file-rwx-check changes nothing here: callers/),
    ]);
  });
});

describe('mistakes', () => {
  const cases: [line: string, message: RegExp][] = [
    ['', /a command is missing/],
    ['bogus', /bogus: unknown command/],
    ['help bogus', /bogus: unknown command/],
    ['completion', /completion: needs the name of a shell/],
    ['completion tcsh', /completion: needs the name of a shell/],
    ['cpuinfo', /cpuinfo: needs/],
    ['cpuinfo bogus', /cpuinfo: needs/],
    ['dump', /no process was named/],
    ['dump extra -t1', /extra: too much for dump/],
    ['restore a b', /a b: too much for restore/],
    ['dump -t 0', /-t: cannot be "0"/],
    ['dump --tree abc', /--tree: cannot be "abc"/],
    ['dump -t 5x', /-t: cannot be "5x"/],
    ['dump -t -5', /-t: cannot be "-5"/],
    ['dump -t 99999999999', /-t: cannot be/],
    ['dump -t1 --ghost-limit 5X', /--ghost-limit/],
    ['dump -t1 --ghost-limit M', /--ghost-limit/],
    ['dump -t1 --ghost-limit 99999999999999999G', /--ghost-limit/],
    ['dump -t1 --timeout ten', /--timeout/],
    ['dump -t1 --file-validation x', /--file-validation: cannot be "x"/],
    ['dump -t1 --file-validation constructor', /--file-validation/],
    ['dump -t1 --network-lock x', /--network-lock/],
    ['dump -t1 --manage-cgroups=x', /--manage-cgroups/],
    ['dump -t1 --cpu-cap=x', /--cpu-cap/],
    ['dump -t1 -xabc', /-x: cannot be "abc"/],
    ['dump -t1 -x0', /-x: cannot be "0"/],
    ['restore --inet-addr-map 10.0.0.1', /--inet-addr-map: cannot be "10.0.0.1"/],
    ['restore --inet-addr-map 10.0.0.1:80=10.0.0.2', /--inet-addr-map: cannot be/],
    ['restore --inet-addr-map 10.0.0.1=::1', /--inet-addr-map: cannot be "10.0.0.1=::1"/],
    ['restore --inet-addr-map host=10.0.0.1', /--inet-addr-map: cannot be/],
    [
      'restore --inet-addr-map 10.0.0.1=10.0.0.2 --inet-addr-map 10.0.0.1=10.0.0.3',
      /--inet-addr-map: 10.0.0.1 has another address already/,
    ],
    ['restore --inherit-fd x', /--inherit-fd: cannot be "x"/],
    ['restore --inherit-fd fd[x]:y', /--inherit-fd/],
    ['restore --inherit-fd fd[1]:', /--inherit-fd/],
    ['restore -J cgroup:5', /-J: cannot be "cgroup:5"/],
    ['restore -J net', /-J/],
    ['restore --empty-ns uts', /--empty-ns/],
    ['restore --empty-ns net -J net:/x', /--join-ns: cannot be used with --empty-ns/],
    ['restore --veth-pair x', /--veth-pair/],
    ['restore -M x', /-M/],
    ['restore -S', /--restore-sibling: only makes sense/],
    ['restore --exec-cmd', /--exec-cmd: needs a command/],
    ['restore --exec-cmd -d -- true', /--exec-cmd: cannot be used with --restore-detached/],
    ['restore --log-file=', /--log-file: is empty/],
    ['check --ms', /--ms: is gone/],
    ['check --status-fd x', /--status-fd/],
    ['page-server --port -1', /--port/],
    ['page-server --port 65536', /--port/],
  ];
  test.each(cases)('%s', (line, message) => {
    expect(() => request(line)).toThrow(StasisError);
    expect(() => request(line)).toThrow(message);
  });
});

describe('what is not built yet', () => {
  const unbuilt = [
    'dump -t1 --allow-uprobes',
    'pre-dump -t1 --leave-stopped',
    'restore --stream',
    'restore --lsm-mount-context x',
  ];
  test.each(unbuilt)('%s is refused by name', (line) => {
    const error = refusal(line);
    expect(error?.kind).toBe('unsupported');
    expect(error?.resource).toBe(line.split(' ').find((word, i) => i > 0 && word.startsWith('-') && word !== '-t1'));
    expect(error?.remedy).toBeDefined();
  });

  test('what is another command’s is named with what to write instead', () => {
    expect(refusal('dump -t1 --pid 5')).toMatchObject({ kind: 'usage', remedy: 'dump takes --tree, -t' });
    expect(refusal('dump -t1 --inherit-fd fd[1]:x')?.message).toBe('--inherit-fd: is for restore, not for dump');
    expect(refusal('dump -t1 --exec-cmd')?.message).toBe('--exec-cmd: is for restore, not for dump');
    expect(refusal('dump -t1 --mntns-compat-mode')?.message).toBe('--mntns-compat-mode: is for restore, not for dump');
  });

  test('all of them at once', () => {
    const error = refusal('dump -t1 --stream --allow-uprobes --shell-job');
    expect(error).toBeInstanceOf(ObstacleError);
    expect((error as ObstacleError).obstacles.map((o) => o.resource)).toEqual(['--stream', '--allow-uprobes']);
  });

  test('a flag that repeats the default asks for nothing', () => {
    for (const line of ['dump -t1 --no-stream', 'dump -t1 --ghost-fiemap', 'dump -t1 --track-mem --no-track-mem']) {
      expect(refusal(line)).toBeUndefined();
    }
  });

  test('what the ZDTM driver passes is accepted', () => {
    const dump =
      'dump --no-default-config --log-file dump.log --images-dir /i --verbosity=4 --tree 5 --timeout 10 ' +
      '--pre-dump-mode splice --pidfile /p --leave-stopped';
    expect(invocation(dump).settings.verbosity).toBe(4);
    const restore =
      'restore --no-default-config --log-file restore.log --images-dir /i --verbosity=4 --pidfile /p ' +
      '--restore-sibling --restore-detached --mntns-compat-mode';
    expect(invocation(restore).settings.restoreSibling).toBe(true);
    expect(invocation('check --no-default-config -verbosity=0 --feature userns').settings).toMatchObject({
      verbosity: 0,
      feature: ['userns'],
    });
  });

  test('a pre-dump is given the options of the dump that follows', () => {
    const line = 'pre-dump -t1 --tcp-established --external dev[1/2]:x --track-mem --skip-file-rwx-check --file-locks';
    expect(refusal(line)).toBeUndefined();
    expect(invocation(line).notes).toContain('--file-locks changes nothing here: a pre-dump saves memory only');
    expect(refusal('pre-dump -t1 --inherit-fd fd[1]:x')?.kind).toBe('usage');
  });

  test('what LXC passes is understood', () => {
    const line =
      'dump --tcp-established --file-locks --link-remap --manage-cgroups=full --action-script /x -D /d -o /d/dump.log ' +
      '-vvvvvv -t 5 --leave-running --evasive-devices --skip-in-flight --ghost-limit 1M';
    expect(invocation(line).settings).toMatchObject({ verbosity: 4, manageCgroups: 'full', finalState: 'running' });
  });
});
