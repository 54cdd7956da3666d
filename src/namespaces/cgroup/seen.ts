/** Where the roots of the cgroup namespaces of a tree are, at a dump. */
import { Part } from '../../base/part.ts';
import type { SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot } from '../../contract/slots.ts';
import { hierarchyName, parseCgroup } from '../../kernel/proc/cgroup.ts';
import { readProc } from '../../kernel/proc/read.ts';
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
