/** `/proc/PID/cgroup` (kernel/cgroup/cgroup.c, `proc_cgroup_show()`). */

import { decimal, linesOf, malformed, splitDeleted, textOf } from './common.ts';

/** Membership in one hierarchy. */
export interface CgroupMembership {
  /** 0 for cgroup v2. */
  readonly hierarchy: number;
  /** Controllers of a v1 hierarchy, without its name; empty for v2. */
  readonly controllers: readonly string[];
  /** Name of a v1 hierarchy (`name=systemd`). */
  readonly name: string | undefined;
  /**
   * Path in the hierarchy, relative to the root of the reader's cgroup namespace; it begins with `/../` outside of
   * that.
   */
  readonly path: string;
  /** The cgroup was removed (zombies only; v2 only). */
  readonly deleted: boolean;
}

/** The name of a hierarchy: its controllers and its name, as the file lists them; empty for v2. */
export function hierarchyName({ controllers, name }: Pick<CgroupMembership, 'controllers' | 'name'>): string {
  return [...controllers, ...(name === undefined ? [] : [`name=${name}`])].join(',');
}

const FILE = '/proc/PID/cgroup';

/** Parses the file. Paths may hold colons, never newlines. Throws `kernel` for another format. */
export function parseCgroup(bytes: Uint8Array): CgroupMembership[] {
  return linesOf(bytes).map((line) => {
    const first = line.indexOf(':');
    const second = line.indexOf(':', first + 1);
    if (first < 0 || second < 0) throw malformed(FILE, line);
    const list = line
      .slice(first + 1, second)
      .split(',')
      .filter((word) => word !== '');
    const name = list.find((word) => word.startsWith('name='))?.slice('name='.length);
    return {
      hierarchy: decimal(line.slice(0, first), FILE),
      controllers: list.filter((word) => !word.startsWith('name=')),
      name: name === undefined ? undefined : textOf(name),
      ...splitDeleted(textOf(line.slice(second + 1))),
    };
  });
}
