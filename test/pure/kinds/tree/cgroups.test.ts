/** The pure halves of the kind cgroups. */
import { describe, expect, test } from 'bun:test';
import type { CgroupEntry } from '../../../../src/images/schema/cgroup.ts';
import { parseCgroup } from '../../../../src/kernel/proc/cgroup.ts';
import { isEarly, propertyNames, savedValue, writesFor } from '../../../../src/kinds/tree/cgroups/properties.ts';
import {
  below,
  isOf,
  membersOf,
  namesOf,
  pathOf,
  rebased,
  rootFor,
  sameMembers,
} from '../../../../src/kinds/tree/cgroups/sets.ts';

const members = (text: string) => membersOf(parseCgroup(new TextEncoder().encode(text)));

describe('places', () => {
  test('are sorted by the names of their hierarchies', () => {
    expect(members('9:name=systemd:/a\n2:memory:/m:1\n1:cpu,cpuacct:/\n0::/v2\n')).toEqual([
      { name: '', path: '/v2' },
      { name: 'cpu,cpuacct', path: '/' },
      { name: 'memory', path: '/m:1' },
      { name: 'name=systemd', path: '/a' },
    ]);
  });

  test('are the same whatever the order', () => {
    expect(sameMembers(members('1:cpu:/a\n0::/\n'), members('0::/\n1:cpu:/a\n'))).toBe(true);
    expect(sameMembers(members('1:cpu:/a\n0::/\n'), members('0::/\n1:cpu:/ab\n'))).toBe(false);
    expect(sameMembers(members('0::/\n'), members('0::/\n1:cpu:/\n'))).toBe(false);
  });

  test('a hierarchy goes by its controllers, else by its name', () => {
    expect(namesOf('cpu,cpuacct')).toEqual(['cpu', 'cpuacct']);
    expect(namesOf('cpu,name=x')).toEqual(['cpu']);
    expect(namesOf('name=x')).toEqual(['name=x']);
    expect(namesOf('')).toEqual(['']);
    expect(isOf({ cnames: ['cpu', 'cpuacct'] }, 'cpu,cpuacct')).toBe(true);
    expect(isOf({ cnames: ['cpu'] }, 'cpuset')).toBe(false);
    expect(isOf({ cnames: [''] }, 'cpu')).toBe(false);
  });
});

describe('paths', () => {
  test('are absolute and plain', () => {
    expect(pathOf('')).toBe('/');
    expect(pathOf('/a//b/')).toBe('/a/b');
    expect(pathOf('/', 'a', '/b/./c')).toBe('/a/b/c');
    expect(() => pathOf('/a', '../../b')).toThrow('leads out of its hierarchy');
  });

  test('below another', () => {
    expect(below('/a/b', '/a')).toBe('/b');
    expect(below('/a', '/a')).toBe('');
    expect(below('/ab', '/a')).toBeUndefined();
    expect(below('/a', '/')).toBe('/a');
  });
});

describe('--cgroup-root', () => {
  const all = { key: undefined, value: '/all' };

  test('one of its own comes before the one for all', () => {
    const roots = [{ key: 'cpu', value: '/c/' }, all, { key: '', value: '/v2' }];
    expect(rootFor(['cpu', 'cpuacct'], roots)).toBe('/c');
    expect(rootFor(['memory'], roots)).toBe('/all');
    expect(rootFor([''], roots)).toBe('/v2');
    expect(rootFor(['memory'], [{ key: 'cpu', value: '/c' }])).toBeUndefined();
  });

  test('two for one hierarchy are refused', () => {
    const roots = ['/a', '/b'].map((value, at) => ({ key: at === 0 ? 'cpu' : 'cpuacct', value }));
    expect(() => rootFor(['cpu', 'cpuacct'], roots)).toThrow('cannot have the roots /a and /b');
  });

  const image: CgroupEntry = {
    sets: [
      {
        id: 2,
        ctls: [
          { name: 'cpu,cpuacct', path: '/old/in' },
          { name: 'name=x', path: '/ns/old/in', cgns_prefix: 3 },
          { name: 'pids', path: '/' },
        ],
      },
      {
        id: 3,
        ctls: [
          { name: 'cpu,cpuacct', path: '/old' },
          { name: 'pids', path: '/deep' },
        ],
      },
    ],
    controllers: [
      { cnames: ['cpu', 'cpuacct'], dirs: [{ dir_name: 'old', children: [], properties: [] }] },
      { cnames: ['name=x'], dirs: [{ dir_name: 'ns/old', children: [], properties: [] }] },
      { cnames: ['pids'], dirs: [{ dir_name: '', children: [], properties: [] }] },
      { cnames: ['memory'], dirs: [{ dir_name: 'elsewhere', children: [], properties: [] }] },
    ],
  };

  test('replaces the tops of directories and places', () => {
    const { sets, controllers } = rebased(image, [all]);
    expect(sets[0]?.ctls).toEqual([
      { name: 'cpu,cpuacct', path: '/all/in' },
      { name: 'name=x', path: '/all/old/in', cgns_prefix: 4 },
      { name: 'pids', path: '/all' },
    ]);
    expect(sets[1]?.ctls.map(({ path }) => path)).toEqual(['/all', '/all/deep']);
    expect(controllers.map(({ dirs }) => dirs[0]?.dir_name)).toEqual(['/all', '/all/old', '/all', 'elsewhere']);
    expect(image.sets[0]?.ctls[0]?.path).toBe('/old/in');
  });

  test('of one hierarchy leaves the others', () => {
    const { sets } = rebased(image, [{ key: 'pids', value: '/p' }]);
    expect(sets[0]?.ctls.map(({ path }) => path)).toEqual(['/old/in', '/ns/old/in', '/p']);
    expect(rebased(image, [])).toBe(image);
  });
});

describe('control files', () => {
  test('of a hierarchy', () => {
    expect(propertyNames(['pids'])[0]).toBe('pids.max');
    expect(propertyNames(['name=x'])).toEqual(['cgroup.clone_children', 'notify_on_release', 'cgroup.procs', 'tasks']);
    expect(propertyNames([''], [], new Set(['cgroup.type', 'memory.max', 'memory.current']))).toEqual([
      'memory.max',
      'cgroup.type',
    ]);
    const huge = new Set(['hugetlb.2MB.max', 'hugetlb.2MB.rsvd.max', 'hugetlb.2MB.current']);
    expect(propertyNames([''], [], huge)).toEqual(['hugetlb.2MB.max', 'hugetlb.2MB.rsvd.max']);
    expect(propertyNames(['cpu', 'cpuacct'])).toHaveLength(9);
  });

  test('as the user says', () => {
    const say = (replace: boolean, ...properties: string[]) => [{ controller: 'pids', replace, properties }];
    expect(propertyNames(['pids'], say(false, 'pids.x'))).toEqual(['pids.max', 'pids.x', ...propertyNames(['name=x'])]);
    expect(propertyNames(['pids'], say(true, 'pids.x'))).toEqual(['pids.x', ...propertyNames(['name=x'])]);
    expect(propertyNames([''], say(true, 'pids.x'), new Set(['pids.max', 'pids.x']))).toEqual(['pids.x']);
  });

  test('by lines: each by itself, and those of other devices are taken back', () => {
    const file = 'io.max';
    const [one, other] = ['8:0 rbps=1 wbps=max riops=max wiops=max', '8:16 rbps=2 wbps=max riops=max wiops=max'];
    expect(writesFor(file, `${one}`, `${other}`)).toEqual([
      { file, text: '8:16 rbps=max wbps=max riops=max wiops=max', optional: true },
      { file, text: one, optional: true },
    ]);
    expect(writesFor('io.weight', 'default 50', 'default 100')).toEqual([
      { file: 'io.weight', text: 'default 50', optional: false },
    ]);
  });

  test('are saved as they can be written', () => {
    expect(savedValue('pids.max', 'max\n')).toBe('max');
    expect(savedValue('cpu.cfs_quota_us', '9223372036854775807\n')).toBe('-1');
    expect(savedValue('memory.oom_control', 'oom_kill_disable 1\nunder_oom 0\noom_kill 0\n')).toBe('1');
    expect(savedValue('cpuset.cpus.partition', 'root invalid (Cpu list in cpuset.cpus is empty)\n')).toBe('root');
    expect(savedValue('devices.list', 'c 1:3 rwm\nb *:* m\n')).toBe('c 1:3 rwm\nb *:* m');
  });

  test('are written only if they say something else', () => {
    expect(writesFor('pids.max', '7', '7')).toEqual([]);
    expect(writesFor('pids.max', '7', 'max')).toEqual([{ file: 'pids.max', text: '7' }]);
    expect(writesFor('cgroup.procs', '', '1\n')).toEqual([]);
    expect(writesFor('cgroup.type', 'domain threaded', 'domain')).toEqual([]);
    expect(writesFor('cgroup.type', 'threaded', 'domain')).toHaveLength(1);
  });

  test('devices: everything is taken away first', () => {
    expect(writesFor('devices.list', 'c 1:3 rwm\nb *:* m', 'a *:* rwm')).toEqual([
      { file: 'devices.deny', text: 'a' },
      { file: 'devices.allow', text: 'c 1:3 rwm' },
      { file: 'devices.allow', text: 'b *:* m' },
    ]);
    expect(writesFor('devices.list', '', 'a *:* rwm')).toEqual([{ file: 'devices.deny', text: 'a' }]);
  });

  test('controllers of v2: only what changes', () => {
    expect(writesFor('cgroup.subtree_control', 'cpu io', 'io pids')).toEqual([
      { file: 'cgroup.subtree_control', text: '-pids +cpu' },
    ]);
  });

  test('network priorities: none for devices at 0, and no error for those not there', () => {
    const file = 'net_prio.ifpriomap';
    expect(writesFor(file, 'lo 0\neth0 5', 'lo 0')).toEqual([{ file, text: 'eth0 5', optional: true }]);
  });

  test('some only before there are tasks', () => {
    expect(['cpuset.cpus', 'devices.list'].every((name) => isEarly(name, false))).toBe(true);
    expect(['pids.max', 'memory.limit_in_bytes'].some((name) => isEarly(name, false))).toBe(false);
    expect(isEarly('cgroup.type', true)).toBe(true);
    expect(['cpuset.cpus', 'cgroup.subtree_control'].some((name) => isEarly(name, true))).toBe(false);
  });
});
