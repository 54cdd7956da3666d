/** Puts new processes into their namespaces, and makes those that do not exist yet. */
import type { MadeNamespace, NamespaceKind, RestoreContext, RestoreTask } from '../../contract/contract.ts';
import type { NamespaceIds } from '../../images/namespace-ids.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { syscall } from '../../kernel/syscall.ts';
import { atHome, type NetworkStay, openNamespace } from '../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { handOver } from '../../tracee/handover.ts';
import type { Plan } from './plan.ts';

/** When a process enters a namespace: as soon as it exists, or after phase `birth`. */
type Moment = 'born' | 'placed';

/**
 * A cgroup namespace begins at the cgroup its first member is in, to which the kind `cgroups` moves it in `birth`.
 * Mounts of cgroups show what the cgroup namespace of their maker shows, so mount namespaces come after it.
 */
const momentOf = ({ name }: NamespaceKind): Moment => (name === 'cgroup' || name === 'mnt' ? 'placed' : 'born');

/**
 * Moves a process from the namespaces it has inherited, `from`, to those it is to be in, `to`. The first member of a
 * namespace makes it, and its contents are made again at once. `ours` are the IDs of the namespaces of Stasis.
 */
export function enterNamespaces(
  task: RestoreTask,
  from: NamespaceIds,
  to: NamespaceIds,
  ours: NamespaceIds,
  moment: Moment,
): void {
  for (const kind of namespaceKinds) {
    const { name } = kind;
    if (to[name] === from[name] || momentOf(kind) !== moment) continue;
    const made = MADE_NAMESPACES.of(task.context).get(name, to[name]);
    // The root was born there.
    if (made && (name === 'pid' || isRootNetwork(task, made))) continue;
    if (made) join(task, kind, made.fd);
    else if (to[name] === ours[name]) joinOurs(task, kind);
    else if (name === 'pid') note(task, kind, to[name]);
    else make(task, kind, to[name]);
  }
}

/** Whether a task is the root, and a namespace the one that was made for it before. */
function isRootNetwork(task: RestoreTask, { name, first }: MadeNamespace): boolean {
  return name === 'net' && task.pstree.ppid === 0 && first === undefined;
}

/** Has a process enter a namespace that exists. */
function join(task: RestoreTask, { flag }: NamespaceKind, fd: Parameters<typeof handOver>[2][number]): void {
  const [arrived = -1] = handOver(task.seed, task.batch, [fd]);
  const program = task.batch.reserve(2);
  program.call('setns', arrived, flag);
  program.call('close', arrived);
  task.batch.flush();
}

/** Has a process that was born in another namespace return to that of Stasis. */
function joinOurs(task: RestoreTask, kind: NamespaceKind): void {
  using own = atHome(() => openNamespace('self', kind.name));
  join(task, kind, own.number);
}

/**
 * Makes the network namespaces of the tree, since sockets are made before any process. Stasis stays in that of the
 * root: a process is born in the namespace that its maker is in.
 */
export function makeNetworks(context: RestoreContext, plan: Plan, stay: NetworkStay): void {
  const kind = namespaceKinds.find(({ name }) => name === 'net');
  const root = plan.tasks.get(plan.root)?.namespaces.net ?? plan.ours.net;
  const all = new Set([root, ...[...plan.tasks.values()].map(({ namespaces }) => namespaces.net)]);
  all.delete(plan.ours.net);
  if (!kind) return;
  for (const id of all) makeNetwork(context, kind, id);
  const own = MADE_NAMESPACES.of(context).get('net', root);
  if (own) stay.enter(own.fd);
}

function makeNetwork(context: RestoreContext, kind: NamespaceKind, id: number): void {
  using home = openNamespace('self', 'net');
  syscall('unshare', CLONE.NEWNET);
  using fd = openNamespace('self', 'net');
  syscall('setns', home.number, CLONE.NEWNET);
  const namespace = { name: kind.name, id, fd: fd.number };
  MADE_NAMESPACES.of(context).add(namespace);
  fd.release();
  kind.rebuild?.(namespace, context);
}

/** Has a process make a namespace. */
function make(task: RestoreTask, kind: NamespaceKind, id: number): void {
  task.batch.call('unshare', kind.flag);
  task.batch.flush();
  note(task, kind, id);
}

/** Notes a namespace that a process is in as its first member, and makes again what is in it. */
function note(task: RestoreTask, kind: NamespaceKind, id: number): void {
  using fd = openNamespace(task.tracee.pid, kind.name);
  const namespace = { name: kind.name, id, fd: fd.number, first: task };
  MADE_NAMESPACES.of(task.context).add(namespace);
  fd.release();
  atHome(() => kind.rebuild?.(namespace, task.context));
}

/** The last step in the namespaces that were made, when all tasks are rebuilt. */
export function finishNamespaces(context: RestoreContext): void {
  for (const kind of namespaceKinds) {
    for (const namespace of MADE_NAMESPACES.of(context).all) {
      if (namespace.name === kind.name) atHome(() => kind.finish?.(namespace, context));
    }
  }
}
