/**
 * Cgroup namespaces. What is in one is nothing but its root in each hierarchy: the cgroups that its first member was in
 * when it made it. `cgroup.img` has them with the cgroups of the tasks, and the kind `cgroups` puts the first member
 * there before it makes the namespace.
 */
import { StasisError } from '../../base/errors.ts';
import type { NamespaceDoors, SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { hierarchyName, parseCgroup } from '../../kernel/proc/cgroup.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStatus } from '../../kernel/proc/status.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { hiddenRoots } from './roots.ts';
import { CGROUP_ROOTS } from './seen.ts';

/** Members that are in a cgroup outside of the roots of their namespace: images have no place for that. */
function obstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const roots = CGROUP_ROOTS.of(tree, namespace);
  if (namespace.members.length === 0) return hiddenRoots(namespace, roots);
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
