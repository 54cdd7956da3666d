/**
 * Mounts of namespaces (`mount --bind /proc/PID/ns/mnt FILE`) that are made again after the mount namespace which shows
 * them: they are added when all namespaces exist.
 */
import type { NamespaceName, RestoreContext, SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { OUR_NAMESPACE_IDS } from '../../images/namespace-ids.ts';
import { MADE_NAMESPACES, wasOurs } from '../made.ts';
import { parentIn, SEEN_NAMESPACES } from '../seen.ts';
import type { Mount } from './mount.ts';
import type { Base, MountPlan } from './plan.ts';
import { lockedMounts } from './reach.ts';

/** A plan in two parts: what can be made now, and what has to wait. */
export function splitPlan(
  plan: MountPlan,
  context: RestoreContext,
): { readonly now: MountPlan; readonly late: MountPlan } {
  const waits = ({ origin }: Base): boolean => {
    if (origin?.kind !== 'namespace') return false;
    const { name, id } = origin;
    return !MADE_NAMESPACES.of(context).get(name, id) && !wasOurs(context, name, id);
  };
  const { steps, groups } = plan;
  const now = {
    steps: steps.filter(({ base }) => !waits(base)),
    groups: groups.filter(({ from }) => !('base' in from && waits(from.base))),
  };
  return { now, late: { steps: steps.filter(({ base }) => waits(base)), groups } };
}

/** The mounts of a plan that others are attached to; of those that are not in the plan themselves. */
export function carriersOf({ steps }: MountPlan, mounts: readonly Mount[]): Mount[] {
  const own = new Set(steps.map(({ mount }) => mount.id));
  const parents = new Set(steps.flatMap(({ on }) => (on && !own.has(on.parent) ? [on.parent] : [])));
  return mounts.filter(({ id }) => parents.has(id));
}

/** Types of namespaces that are there before the first mount namespace of a tree is made again. */
const EARLY: readonly NamespaceName[] = ['user', 'net', 'ipc', 'uts'];

/** Why the mount of a namespace cannot be made again; undefined if it can. */
export function lateFault(
  mount: Mount,
  mounts: readonly Mount[],
  namespace: SeenNamespace,
  tree: SeenTree,
): string | undefined {
  const { origin } = mount;
  if (origin?.kind !== 'namespace') return undefined;
  const { name, id } = origin;
  if (EARLY.includes(name) || id === OUR_NAMESPACE_IDS[name]) return undefined;
  const what = `a ${name} namespace of the tree is mounted there, which is made again after its mounts`;
  if (mounts.some(({ parent }) => parent === mount.id)) return `${what}, and something is mounted over it`;
  if (namespace.owner && lockedMounts(mounts, namespace).some((locked) => locked.id === mount.parent)) {
    return `${what}, on one that its user namespace cannot change`;
  }
  if (name !== 'mnt') return undefined;
  const shown = SEEN_NAMESPACES.of(tree).others.find((other) => other.id === id);
  return shown && isMadeBefore(namespace, shown, tree) ? undefined : `${what}, and before the one that shows it`;
}

/**
 * Whether a mount namespace is made before another one, at the restore: it may show only those that are newer than
 * itself (mnt_ns_loop() in fs/namespace.c).
 */
function isMadeBefore(one: SeenNamespace, other: SeenNamespace, tree: SeenTree): boolean {
  const [first] = other.members;
  // Those that no process is in are made last, in the order of the table.
  if (!first) return one.members.length > 0 || one.id < other.id;
  const [maker] = one.members;
  for (let at: SeenTask | undefined = first; at && maker; at = parentIn(tree, at)) {
    if (at === maker) return true;
  }
  return false;
}
