/**
 * The cgroups of tasks in each hierarchy, and moving the cgroups of an image to other roots (`--cgroup-root`). Pure.
 */
import { StasisError } from '../../../base/errors.ts';
import { ImageError } from '../../../images/error.ts';
import type { CgControllerEntry, CgMemberEntry, CgroupEntry, CgSetEntry } from '../../../images/schema/cgroup.ts';
import { type CgroupMembership, hierarchyName } from '../../../kernel/proc/cgroup.ts';

/**
 * A cgroup in a hierarchy. `name` holds the hierarchy's controllers and name as /proc/PID/cgroup lists them; empty for
 * cgroup v2.
 */
export interface Member {
  readonly name: string;
  readonly path: string;
  /** In a cgroup namespace of its own: the length of the part of `path` that is the root of the namespace. */
  readonly cgns_prefix?: number | undefined;
}

/** The cgroups of a task, sorted by the name of the hierarchy, as CRIU keeps them. */
export function membersOf(memberships: readonly CgroupMembership[]): Member[] {
  return memberships
    .map((membership) => ({ name: hierarchyName(membership), path: membership.path }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Whether two sets are equal. */
export function sameMembers(a: readonly Member[], b: readonly Member[]): boolean {
  const same = (one: Member, other: Member | undefined): boolean =>
    one.name === other?.name && one.path === other.path && (one.cgns_prefix ?? 0) === (other.cgns_prefix ?? 0);
  return a.length === b.length && a.every((member, at) => same(member, b[at]));
}

/** The names of a hierarchy: `cpu,cpuacct` has two. A v1 hierarchy with controllers is identified by these alone. */
export function namesOf(hierarchy: string): string[] {
  const names = hierarchy.split(',');
  const controllers = names.filter((name) => !name.startsWith('name='));
  return controllers.length > 0 ? controllers : names;
}

/** A `--cgroup-root`: for the hierarchy of one controller, or for all without a root of their own. */
export interface Root {
  readonly key: string | undefined;
  readonly value: string;
}

/**
 * The root given for a hierarchy with these names, as a normalised path; undefined if none was given.
 *
 * @throws StasisError (usage) if different roots were given for its names
 */
export function rootFor(names: readonly string[], roots: readonly Root[]): string | undefined {
  const own = roots.filter(({ key }) => key?.split(',').some((name) => names.includes(name)));
  const asked = new Set(
    (own.length > 0 ? own : roots.filter(({ key }) => key === undefined)).map(({ value }) => value),
  );
  // Of several roots for all hierarchies the last one counts, as with every repeated option.
  if (own.length > 0 && asked.size > 1) {
    const reason = `${names.join(',')} is one hierarchy and cannot have the roots ${[...asked].join(' and ')}`;
    throw new StasisError({ kind: 'usage', resource: '--cgroup-root', reason });
  }
  const root = [...asked].at(-1);
  return root === undefined ? undefined : pathOf(root);
}

/**
 * A path in a hierarchy: absolute, without empty parts.
 *
 * @throws ImageError if it contains `..`
 */
export function pathOf(...parts: readonly string[]): string {
  const words = parts.flatMap((part) => part.split('/')).filter((word) => word !== '' && word !== '.');
  if (words.includes('..')) {
    throw new ImageError({
      file: 'cgroup.img',
      field: 'path',
      reason: `${parts.join('/')} leads out of its hierarchy`,
    });
  }
  return `/${words.join('/')}`;
}

/** The part of `path` below `top`; undefined if it is not below. */
export function below(path: string, top: string): string | undefined {
  if (top === '/') return path;
  if (path !== top && !path.startsWith(`${top}/`)) return undefined;
  return path.slice(top.length);
}

/** The image with the roots of `--cgroup-root` in place of the saved topmost directories. */
export function rebased(image: CgroupEntry, roots: readonly Root[]): CgroupEntry {
  if (roots.length === 0) return image;
  const sets: CgSetEntry[] = image.sets.map((set) => ({ ...set, ctls: [...set.ctls] }));
  const controllers = image.controllers.map((controller) => {
    const root = rootFor(controller.cnames, roots);
    return root === undefined ? controller : moved(controller, root, sets);
  });
  return { ...image, sets, controllers };
}

/** Moves one hierarchy to another root. Members below its topmost directories are moved as well. */
function moved(controller: CgControllerEntry, root: string, sets: readonly CgSetEntry[]): CgControllerEntry {
  const done = new Set<CgMemberEntry>();
  const dirs = controller.dirs.map((dir) => {
    const top = pathOf(dir.dir_name);
    let name: string | undefined;
    for (const { ctls } of sets) {
      for (const [at, member] of ctls.entries()) {
        const rest = below(pathOf(member.path), top);
        if (done.has(member) || rest === undefined || !isOf(controller, member.name)) continue;
        // In a cgroup namespace only the part above the root of the namespace is replaced.
        const prefix = member.cgns_prefix ?? 0;
        name ??= pathOf(root, prefix > 0 ? top.slice(prefix) : '');
        const path = pathOf(root, prefix > 0 ? member.path.slice(prefix) : rest);
        const next = { ...member, path, ...(prefix > 0 ? { cgns_prefix: root.length } : {}) };
        ctls[at] = next;
        done.add(next);
      }
    }
    return name === undefined ? dir : { ...dir, dir_name: name };
  });
  return { ...controller, dirs };
}

/** Whether a hierarchy is that of the controller. */
export function isOf(controller: Pick<CgControllerEntry, 'cnames'>, hierarchy: string): boolean {
  const names = namesOf(hierarchy);
  return controller.cnames.length > 0 && controller.cnames.every((name) => names.includes(name));
}
