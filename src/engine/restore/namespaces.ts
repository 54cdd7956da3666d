/** Puts new processes into their namespaces, and makes those that do not exist yet. */
import { localFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { MadeNamespace, NamespaceKind, RestoreContext, RestoreTask } from '../../contract/contract.ts';
import type { NamespaceIds, NamespaceName } from '../../images/namespace-ids.ts';
import type { PidPlaces } from '../../images/pid-places.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { statusOf } from '../../kernel/statx.ts';
import { type Fd, syscall } from '../../kernel/syscall.ts';
import { takeGiven } from '../../namespaces/given.ts';
import { atHome, type NetworkStay, openNamespace } from '../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { savedOwner } from '../../namespaces/user/saved.ts';
import { Batch } from '../../tracee/batch.ts';
import { handOver } from '../../tracee/handover.ts';
import { Seed } from '../../tracee/seed.ts';
import type { Plan } from './plan.ts';

/** When a process enters a namespace: as soon as it exists, or after phase `birth`. */
type Moment = 'born' | 'placed';

/**
 * A cgroup namespace begins at the cgroup its first member is in, to which the kind `cgroups` moves it in `birth`.
 * Mounts of cgroups show what the cgroup namespace of their maker shows, so mount namespaces come after it.
 */
const isPlaced = ({ name }: NamespaceKind): boolean => name === 'cgroup' || name === 'mnt';

/**
 * The namespaces that a process is to enter, in the order in which it does. A namespace belongs to the user namespace
 * that its maker is in: so those of the user namespace that it comes from go first.
 */
function entries(
  context: RestoreContext,
  from: NamespaceIds,
  to: NamespaceIds,
): { readonly kind: NamespaceKind; readonly moment: Moment }[] {
  const others = namespaceKinds.filter(({ name }) => to[name] !== from[name]);
  if (others.length === 0) return [];
  const user = others.filter(({ name }) => name === 'user');
  const isInner = ({ name }: NamespaceKind): boolean =>
    user.length > 0 && name !== 'user' && savedOwner(context, to[name]) === to.user;
  const outer = others.filter((kind) => kind.name !== 'user' && !isInner(kind));
  const inner = others.filter(isInner);
  // As the registry has them, but what waits for phase `birth`, and what comes after that.
  let moment: Moment = 'born';
  const early = (kinds: readonly NamespaceKind[]): NamespaceKind[] =>
    kinds.toSorted((a, b) => Number(isPlaced(a)) - Number(isPlaced(b)));
  return [...early(outer), ...user, ...early(inner)].map((kind) => {
    if (isPlaced(kind)) moment = 'placed';
    return { kind, moment };
  });
}

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
  for (const { kind, moment: its } of entries(task.context, from, to)) {
    const { name } = kind;
    if (its !== moment) continue;
    const made = MADE_NAMESPACES.of(task.context).get(name, to[name]);
    // It was born there.
    if (made && (name === 'pid' || made.first === task || isBornInNetwork(task, made))) continue;
    if (made) {
      kind.beforeEntering?.(task, to[name]);
      join(task, kind, made.fd);
      kind.entered?.(task);
    } else if (to[name] === ours[name]) joinOurs(task, kind);
    else if (name === 'pid') noteBorn(task, name, to[name]);
    else make(task, kind, to[name]);
  }
}

/** Whether a process was born in a network namespace: the root, while Stasis was in the one that is made for it. */
function isBornInNetwork({ tracee }: RestoreTask, { name, fd }: MadeNamespace): boolean {
  return name === 'net' && namespaceOf(tracee.pid, 'net') === statusOf(fd).ino;
}

/** Notes a namespace that a process was born in, which is made with it. */
export function noteBorn(task: RestoreTask, name: NamespaceName, id: number): void {
  const kind = namespaceKinds.find((candidate) => candidate.name === name);
  if (kind) note(task, kind, id);
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
 * Makes the network namespaces of the tree, since sockets are made before any other process. Stasis stays in that of
 * the root: a process is born in the namespace that its maker is in. Those that belong to the user namespace of the
 * root are made when that is there.
 */
export function makeNetworks(context: RestoreContext, plan: Plan, stay: NetworkStay, owner: number | undefined): void {
  atHome(() => makeMissingNetworks(context, plan, owner));
  if (savedOwner(context, rootIds(plan).net) === owner) stayWithRoot(context, plan, stay);
}

function makeMissingNetworks(context: RestoreContext, plan: Plan, owner: number | undefined): void {
  const kind = namespaceKinds.find(({ name }) => name === 'net');
  const root = plan.tasks.get(plan.root)?.namespaces.net ?? plan.ours.net;
  const all = new Set([root, ...[...plan.tasks.values()].map(({ namespaces }) => namespaces.net)]);
  all.delete(plan.ours.net);
  if (!kind) return;
  for (const id of all) {
    const isMissing = savedOwner(context, id) === owner && !MADE_NAMESPACES.of(context).get('net', id);
    if (isMissing) makeNetwork(context, kind, id, owner);
  }
}

/**
 * Takes the namespaces that are given, before anything is made, and enters the network namespace of the root if that is
 * among them.
 */
export function takeGivenNamespaces(context: RestoreContext, plan: Plan, stay: NetworkStay): void {
  takeGiven(
    context,
    rootIds(plan),
    [...plan.tasks.values()].map(({ namespaces }) => namespaces),
  );
  stayWithRoot(context, plan, stay);
}

function rootIds({ tasks, root, ours }: Plan): NamespaceIds {
  return tasks.get(root)?.namespaces ?? ours;
}

/** Enters the network namespace of the root, if that is there. */
function stayWithRoot(context: RestoreContext, plan: Plan, stay: NetworkStay): void {
  const own = MADE_NAMESPACES.of(context).get('net', rootIds(plan).net);
  if (own) stay.enter(own.fd);
}

/** What the root is in when it is born, as IDs of the images; of what is given to it none, unless it is born there. */
export function birthplaceOfRoot(context: RestoreContext, { ours }: Plan): NamespaceIds {
  const given = MADE_NAMESPACES.of(context).all.filter(({ isGiven, name }) => isGiven && name !== 'pid');
  return { ...ours, ...Object.fromEntries(given.map(({ name }) => [name, NOWHERE])) };
}

/** The ID of no namespace. */
const NOWHERE = -1;

function makeNetwork(context: RestoreContext, kind: NamespaceKind, id: number, owner: number | undefined): void {
  using fd = owner === undefined ? ownNetwork() : networkInside(context, owner);
  const namespace = { name: kind.name, id, fd: fd.number };
  MADE_NAMESPACES.of(context).add(namespace);
  fd.release();
  kind.rebuild?.(namespace, context);
}

/** A new network namespace, made by ourselves. */
function ownNetwork(): Fd {
  using home = openNamespace('self', 'net');
  syscall('unshare', CLONE.NEWNET);
  const made = openNamespace('self', 'net');
  syscall('setns', home.number, CLONE.NEWNET);
  return made;
}

/** A new network namespace that belongs to a user namespace of the tree. */
function networkInside(context: RestoreContext, owner: number): Fd {
  const users = MADE_NAMESPACES.of(context).get('user', owner);
  if (!users) throw new StasisError({ kind: 'internal', reason: `user namespace ${owner} is not there yet` });
  using seed = Seed.anywhere();
  const batch = new Batch(seed.remote);
  const [arrived = -1] = handOver(seed, batch, [users.fd]);
  batch.call('setns', arrived, CLONE.NEWUSER);
  batch.call('unshare', CLONE.NEWNET);
  batch.flush();
  return openNamespace(seed.tracee.pid, 'net');
}

/** Has a process make a namespace. */
function make(task: RestoreTask, kind: NamespaceKind, id: number): void {
  kind.beforeEntering?.(task, id);
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
  kind.entered?.(task);
}

/** The last step in the namespaces that were made, when all tasks are rebuilt. */
export function finishNamespaces(context: RestoreContext): void {
  for (const kind of namespaceKinds) {
    for (const namespace of MADE_NAMESPACES.of(context).all) {
      if (namespace.name === kind.name && !namespace.isGiven) atHome(() => kind.finish?.(namespace, context));
    }
  }
}

/** Has a process make its next children in the PID namespace that has this ID in the images. */
export function choosePids(
  context: RestoreContext,
  seed: RestoreTask['seed'],
  batch: RestoreTask['batch'],
  id: number,
): void {
  const made = MADE_NAMESPACES.of(context).get('pid', id);
  using own = made ? undefined : openNamespace('self', 'pid');
  const [arrived = -1] = handOver(seed, batch, [made?.fd ?? own?.number ?? localFd(-1)]);
  const program = batch.reserve(2);
  program.call('setns', arrived, CLONE.NEWPID);
  program.call('close', arrived);
  batch.flush();
}

/** Has a task make its next children where it would have made them. It makes none during the restore any more. */
export function setPidsForChildren(task: RestoreTask, places: PidPlaces): void {
  const namespace = places.forChildren.get(task.pid);
  if (namespace === undefined) return;
  if (namespace === 0) task.batch.call('unshare', CLONE.NEWPID);
  else choosePids(task.context, task.seed, task.batch, namespace);
}
