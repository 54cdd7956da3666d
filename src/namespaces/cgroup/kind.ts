/**
 * Cgroup namespaces. What is in one is nothing but its root in each hierarchy: the cgroups that its first member was in
 * when it made it. `cgroup.img` has them with the cgroups of the tasks, and the kind `cgroups` puts the first member
 * there before it makes the namespace.
 */
import { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import type { NamespaceDoors, SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot } from '../../contract/slots.ts';
import { hierarchyName, parseCgroup } from '../../kernel/proc/cgroup.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStatus } from '../../kernel/proc/status.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { insideOf } from '../inside.ts';

// For namespaces that no process is in.
const ROOTS = new Part(() => require('./roots.ts') as typeof import('./roots.ts'));

/** Whether a path, as it is seen from a namespace, is outside of its root. */
function isOutside(path: string): boolean {
  return path === '/..' || path.startsWith('/../');
}

/** The roots of a cgroup namespace by the name of the hierarchy, as absolute paths; without those nothing tells. */
export const CGROUP_ROOTS = new KeyedSlot((_: SeenTree, namespace: SeenNamespace): ReadonlyMap<string, string> => {
  const { members } = namespace;
  if (members.length === 0) return ROOTS.load().rootsFromMounts(namespace);
  const roots = new Map<string, string>();
  for (const { pid } of members) {
    const seen = parseCgroup(readProc(pid, 'cgroup'));
    const inside = insideOf(pid, 'cgroup', () => parseCgroup(readProc(pid, 'cgroup')));
    for (const [i, membership] of seen.entries()) {
      const name = hierarchyName(membership);
      const below = inside[i]?.path ?? '/..';
      // A member that has left the root shows only how far up and down the way to it leads.
      if (roots.has(name) || isOutside(below) || isOutside(membership.path)) continue;
      const root = below === '/' ? membership.path : membership.path.slice(0, -below.length);
      roots.set(name, root === '' ? '/' : root);
    }
    if (roots.size === seen.length) break;
  }
  return roots;
});

/** Members that are in a cgroup outside of the roots of their namespace: images have no place for that. */
function obstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const roots = CGROUP_ROOTS.of(tree, namespace);
  if (namespace.members.length === 0) return ROOTS.load().hiddenRoots(namespace, roots);
  return namespace.members.flatMap(({ pid, ref }) => {
    const memberships = parseCgroup(readProc(pid, 'cgroup'));
    // A process of a running tree that has come to its end is in the cgroup of nobody (cgroup_exit()).
    if (!tree.frozen && unlessGone(() => parseStatus(readProc(pid, 'status')).hasMemory) !== true) return [];
    return memberships.flatMap((membership) => {
      const name = hierarchyName(membership);
      const root = roots.get(name);
      const { path } = membership;
      if (root === '/' || (root !== undefined && (path === root || path.startsWith(`${root}/`)))) return [];
      const resource = `cgroup ${name === '' ? 'v2' : name}:${path} in cgroup namespace ${namespace.ino}`;
      const reason =
        root === undefined
          ? 'Stasis cannot see where the root of the namespace is'
          : `the process is outside of the root of its namespace, which is ${root}`;
      const remedy = 'move it below the root of its namespace for the dump';
      const facts = { kind: 'unsupported', code: 'NAMESPACE_CGROUP_ROOT', task: ref, resource } as const;
      return [new StasisError({ ...facts, reason, remedy })];
    });
  });
}

/** The roots that processes see of the cgroup hierarchies. */
export const cgroupNamespaces: NamespaceDoors = { obstacles };
