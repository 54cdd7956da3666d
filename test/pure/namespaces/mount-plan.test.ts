/** The planner of mounts: what is copied from where, what is attached when, which groups there are. */
import { describe, expect, test } from 'bun:test';
import { parseMountInfo } from '../../../src/kernel/proc/mountinfo.ts';
import { coversOf, isHidden, unmountingOrder } from '../../../src/namespaces/mnt/covers.ts';
import { entryOf, type Mount, mountFromEntry, mountOf } from '../../../src/namespaces/mnt/mount.ts';
import { lockedPart, type MountPlan, planMounts } from '../../../src/namespaces/mnt/plan.ts';

/** Mounts of a namespace as mountinfo has them; the first one is the root, which comes from the machine. */
function mounts(text: string): Mount[] {
  const found = parseMountInfo(Buffer.from(`${text.trim()}\n`)).map(mountOf);
  return found.map((mount, i) => (i === 0 ? { ...mount, origin: { kind: 'root', path: '/srv/box' } } : mount));
}

const ROOT = '10 1 8:1 /srv/box / rw,relatime - ext4 /dev/sda1 rw';

function plan(text: string, isRemade = true): MountPlan {
  const made = planMounts(mounts(text), [], () => isRemade);
  if ('steps' in made) return made;
  throw new Error(made.map(({ mount, reason }) => `${mount.mountPoint}: ${reason}`).join(', '));
}

const order = ({ steps }: MountPlan): string[] =>
  steps.map(({ mount, on }) => `${mount.mountPoint}${on ? ` on ${on.parent} at ${on.at}` : ''}`);

describe('the order of mounts', () => {
  test('what is deeper in a mount goes before what covers it', () => {
    const made = plan(`${ROOT}
11 10 0:30 / /a rw - tmpfs a rw
12 10 0:31 / /a/b rw - tmpfs b rw
13 11 0:32 / /a/b rw - tmpfs c rw`);
    expect(order(made)).toEqual(['/', '/a/b on 10 at a/b', '/a on 10 at a', '/a/b on 11 at b']);
  });

  test('a mount on the root of another', () => {
    const made = plan(`${ROOT}
11 10 0:30 / /a rw - tmpfs a rw
12 11 0:31 / /a rw - tmpfs b rw`);
    expect(order(made)).toEqual(['/', '/a on 10 at a', '/a on 11 at ']);
  });

  test('a mount over the root of the namespace', () => {
    const made = plan(`${ROOT}
11 10 0:30 / / rw - tmpfs a rw
12 10 0:31 / /x rw - tmpfs b rw`);
    expect(order(made)).toEqual(['/', '/x on 10 at x', '/ on 10 at ']);
  });

  test('a mount on one that is not there is an orphan', () => {
    const faults = planMounts(mounts(`${ROOT}\n12 11 0:31 / /x rw - tmpfs b rw`), [], () => true);
    expect(faults).toMatchObject([{ mount: { id: 12 }, reason: 'orphan' }]);
  });
});

describe('bases', () => {
  const baseOf = ({ steps }: MountPlan, id: number): string | undefined => {
    const step = steps.find(({ mount }) => mount.id === id);
    return step && `${step.base.mount.id} ${step.base.origin?.kind ?? 'mounted'}: ${step.below}`;
  };

  test('a part of the root is copied from there, wherever --root says it is', () => {
    const made = plan(`${ROOT}\n11 10 8:1 /srv/box/data /mnt rw - ext4 /dev/sda1 rw`);
    expect(baseOf(made, 10)).toBe('10 root: ');
    expect(baseOf(made, 11)).toBe('10 root: data');
  });

  test('a file system is mounted once, its parts are copied', () => {
    const made = plan(`${ROOT}
11 10 0:30 /sub /a rw - tmpfs a rw
12 10 0:30 / /b rw - tmpfs a rw`);
    expect(baseOf(made, 11)).toBe('12 mounted: sub');
    expect(baseOf(made, 12)).toBe('12 mounted: ');
  });

  test('what is not below the root and cannot be mounted is told', () => {
    const text = `${ROOT}\n11 10 8:1 /other /mnt rw - ext4 /dev/sda1 rw`;
    expect(planMounts(mounts(text), [], () => false)).toMatchObject([{ mount: { id: 11 }, reason: 'uncovered' }]);
  });

  test('a folder with a similar name is not below', () => {
    const text = `${ROOT}\n11 10 8:1 /srv/boxes /mnt rw - ext4 /dev/sda1 rw`;
    expect(planMounts(mounts(text), [], () => false)).toMatchObject([{ reason: 'uncovered' }]);
  });
});

describe('groups', () => {
  test('masters are made before their slaves', () => {
    const { groups } = plan(`${ROOT}
11 10 0:30 / /a rw shared:3 master:2 - tmpfs a rw
12 10 0:30 / /b rw shared:2 - tmpfs a rw
13 10 0:30 /x /c rw master:3 - tmpfs a rw`);
    expect(groups.map(({ id, master }) => [id, master])).toEqual([
      [2, 0],
      [3, 2],
    ]);
  });

  test('a master that nobody knows is none', () => {
    expect(plan(`${ROOT}\n11 10 0:30 / /a rw master:99 - tmpfs a rw`).groups).toEqual([]);
  });

  test('a group of the machine is entered', () => {
    const [root, other] = mounts(`${ROOT}\n11 10 8:2 / /a rw master:7 - ext4 /dev/sdb rw`);
    if (!root || !other) throw new Error('two mounts');
    const slave: Mount = {
      ...other,
      origin: { kind: 'machine', path: '/data' },
      outside: { as: 'slave', path: '/data' },
    };
    const made = planMounts([root, slave], [], () => false);
    expect('groups' in made && made.groups).toEqual([{ id: 7, master: 0, from: { path: '/data' } }]);
  });

  test('a group that has members in the tree is not that of the machine, whatever a slave says', () => {
    const [root, ...others] = mounts(`${ROOT}
11 10 8:2 / /a rw shared:1 - ext4 /dev/sdb rw
12 10 8:2 / /b rw master:1 - ext4 /dev/sdb rw`);
    const [peer, slave] = others.map((mount): Mount => ({ ...mount, origin: { kind: 'machine', path: '/data' } }));
    if (!root || !peer || !slave) throw new Error('three mounts');
    const made = planMounts([root, peer, { ...slave, outside: { as: 'slave', path: '/data' } }], [], () => false);
    expect('groups' in made && made.groups).toMatchObject([{ id: 1, from: { base: { dev: peer.dev } } }]);
  });

  test('groups that are each other’s masters end', () => {
    const made = plan(`${ROOT}
11 10 0:30 / /a rw shared:3 master:2 - tmpfs a rw
12 10 0:30 / /b rw shared:2 master:3 - tmpfs a rw`);
    expect(made.groups.map(({ id }) => id).toSorted()).toEqual([2, 3]);
  });
});

describe('images', () => {
  test('a mount goes into its entry and back', () => {
    const text = `${ROOT}
11 10 0:30 / /a ro,nosuid,nodev,noexec,noatime,nodiratime shared:3 master:2 - tmpfs name ro,sync,size=4k
12 10 0:31 /gone//deleted /b rw,relatime unbindable - cgroup2 cgroup2 rw,nsdelegate
13 10 0:32 / /c rw - fancy fancy rw`;
    for (const mount of mounts(text)) {
      const entry = entryOf(mount);
      const note = mount.id === 10 ? { id: 10, root: '/srv/box' } : undefined;
      const whole = { ...DEFAULTS, ...entry } as Parameters<typeof mountFromEntry>[0];
      // Images of CRIU do not hold the type of what is not mounted again.
      const expected = mount.id === 10 ? { ...mount, fsType: '' } : mount;
      expect(mountFromEntry(whole, note)).toEqual(expected);
    }
  });
});

const DEFAULTS = { deleted: false, internal_sharing: false };

describe('what covers a mount', () => {
  const covers = (text: string, id: number): string[] => {
    const all = mounts(text);
    const mount = all.find((other) => other.id === id);
    return mount ? coversOf(mount, all) : ['none'];
  };

  test('a mount on its root, and one on a folder above', () => {
    const text = `${ROOT}
11 10 0:30 / /a/b rw - tmpfs a rw
12 11 0:31 / /a/b rw - tmpfs b rw
13 10 0:32 / /a rw - tmpfs c rw`;
    expect(covers(text, 11)).toEqual(['/a', '/a/b']);
    expect(covers(text, 12)).toEqual(['/a']);
    expect(covers(text, 13)).toEqual([]);
  });

  test('what is covered itself does not', () => {
    const text = `${ROOT}
11 10 0:30 / /a/b rw - tmpfs a rw
12 11 0:31 / /a/b rw - tmpfs b rw
13 12 0:32 / /a/b/c rw - tmpfs c rw
14 10 0:33 / /a rw - tmpfs d rw
15 14 0:34 / /a rw - tmpfs e rw
16 15 0:35 / /a/b rw - tmpfs f rw`;
    expect(covers(text, 11)).toEqual(['/a', '/a', '/a/b']);
    expect(covers(text, 13)).toEqual(['/a', '/a']);
    expect(covers(text, 16)).toEqual([]);
    expect(covers(text, 14)).toEqual(['/a']);
  });

  test('several that are stacked', () => {
    const text = `${ROOT}
11 10 0:30 / /a/b rw - tmpfs a rw
12 10 0:31 / /a rw - tmpfs b rw
13 12 0:32 / /a rw - tmpfs c rw`;
    expect(covers(text, 11)).toEqual(['/a', '/a']);
  });

  test('what is on a mount that covers it goes with that', () => {
    const text = `${ROOT}
11 10 0:30 / /a/b/c rw - tmpfs a rw
12 10 0:31 / /a rw - tmpfs b rw
13 12 0:32 / /a/b rw - tmpfs c rw
14 13 0:33 / /a/b/c rw - tmpfs d rw`;
    expect(covers(text, 11)).toEqual(['/a']);
    expect(covers(text, 13)).toEqual([]);
  });

  test('mounts on its folders do not', () => {
    expect(covers(`${ROOT}\n11 10 0:30 / /a rw - tmpfs a rw\n12 11 0:31 / /a/b rw - tmpfs b rw`, 11)).toEqual([]);
  });
});

test('what hides a path on a mount', () => {
  const all = mounts(`${ROOT}
11 10 0:30 / /a rw - tmpfs a rw
12 11 0:31 / /a/b rw - tmpfs b rw
13 10 0:32 / /c rw - tmpfs c rw
14 13 0:33 / /c rw - tmpfs d rw`);
  const hides = (id: number, path: string): boolean => {
    const mount = all.find((one) => one.id === id);
    return mount !== undefined && isHidden(path, mount, all);
  };
  expect([hides(10, '/a/file'), hides(10, '/abc'), hides(11, '/a/file'), hides(11, '/a/b/file')]).toEqual([
    true,
    false,
    false,
    true,
  ]);
  expect([hides(13, '/c/file'), hides(14, '/c/file')]).toEqual([true, false]);
});

test('the order of unmounting', () => {
  const all = mounts(`${ROOT}
11 10 0:30 / /a rw - tmpfs a rw
12 11 0:31 / /a/b rw - tmpfs b rw
9 11 0:32 / /a rw - tmpfs c rw
13 9 0:33 / /a/c rw - tmpfs d rw`);
  expect(unmountingOrder(all).map(({ id }) => id)).toEqual([13, 9, 12, 11, 10]);
});

test('what is locked is part of what has come from outside only if it is on that', () => {
  const all = mounts(`${ROOT}
11 10 0:30 / /a rw - tmpfs a rw
12 11 0:31 / /a/b rw - tmpfs b rw
13 10 0:32 / /c rw - tmpfs c rw
14 13 0:33 / /c/d rw - tmpfs d rw`).map((mount) => ({ ...mount, isLocked: [11, 12, 14].includes(mount.id) }));
  expect([...lockedPart(all)].sort()).toEqual([10, 11, 12]);
});
