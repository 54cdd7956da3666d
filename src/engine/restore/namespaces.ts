/** Puts new processes into their namespaces, and makes those that do not exist yet. */
import { type LocalFd, localFd } from '../../base/brands.ts';
import { Part } from '../../base/part.ts';
import type {
  EnteringTask,
  MadeNamespace,
  NamespaceKind,
  RestoreContext,
  RestoreTask,
} from '../../contract/contract.ts';
import type { NamespaceIds, NamespaceName } from '../../images/namespace-ids.ts';
import type { PidPlaces } from '../../images/pid-places.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { statusOf } from '../../kernel/statx.ts';
import { type Fd, syscall } from '../../kernel/syscall.ts';
import { emptyNamespaces, hasEmptyNamespaces } from '../../namespaces/empty.ts';
import { enterNamespace } from '../../namespaces/enter.ts';
import { atHome, type NetworkStay, openNamespace } from '../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { savedOwner, savedUsersDownTo, USER_IDS } from '../../namespaces/user/saved.ts';
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
function entries(context: RestoreContext, from: NamespaceIds, to: NamespaceIds): readonly Entry[] {
  const others = namespaceKinds.filter(({ name }) => to[name] !== from[name]);
  if (others.length === 0) return [];
  const user = others.find(({ name }) => name === 'user');
  // Undefined stands for ours.
  const users = user ? usersOnTheWay(context, from.user, to.user) : [];
  const owned = others
    .filter((kind) => kind !== user)
    .map((kind) => ({ kind, owner: savedOwner(context, to[kind.name]) }));
  // As the registry has them, but what waits for phase `birth`, and what comes after that.
  let moment: Moment = 'born';
  const step = (kind: NamespaceKind, id: number): Entry => {
    if (isPlaced(kind)) moment = 'placed';
    return { kind, id, moment };
  };
  const steps = (these: typeof owned): Entry[] =>
    these
      .toSorted((a, b) => Number(isPlaced(a.kind)) - Number(isPlaced(b.kind)))
      .map(({ kind }) => step(kind, to[kind.name]));
  const outer = steps(owned.filter(({ owner }) => owner === undefined || !users.includes(owner)));
  const inner = users.flatMap((id) => [
    ...(user ? [step(user, id)] : []),
    ...steps(owned.filter(({ owner }) => owner === id)),
  ]);
  return [...outer, ...inner];
}

/** A namespace that a process is to enter. */
interface Entry {
  readonly kind: NamespaceKind;
  readonly id: number;
  readonly moment: Moment;
}

/** The user namespaces that a process enters one after the other, from one that it is in to another one. */
function usersOnTheWay(context: RestoreContext, from: number, to: number): readonly number[] {
  const all = savedUsersDownTo(context, to);
  const way = all.slice(all.indexOf(from) + 1);
  return way.length > 0 ? way : [to];
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
  for (const { kind, id, moment: its } of entries(task.context, from, to)) {
    const { name } = kind;
    if (its !== moment) continue;
    const made = MADE_NAMESPACES.of(task.context).get(name, id);
    // It was born there.
    if (made && (name === 'pid' || made.first === task || isBornInNetwork(task, made))) continue;
    if (made) {
      enter(task, kind, id, made.fd);
    } else if (id === ours[name]) joinOurs(task, kind);
    else if (name === 'pid') noteBorn(task, name, id);
    else make(task, kind, id);
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

/** Has a process enter a namespace that was made, as one of those that are in it. */
function enter(task: EnteringTask, kind: NamespaceKind, id: number, fd: LocalFd): void {
  kind.beforeEntering?.(task, id);
  enterNamespace(task, kind.flag, fd);
  kind.entered?.(task, id);
}

/** Has a process enter a user namespace of the tree. */
export function enterUsers(task: EnteringTask, id: number): void {
  const kind = namespaceKinds.find(({ name }) => name === 'user');
  const made = MADE_NAMESPACES.of(task.context).get('user', id);
  if (kind && made) enter(task, kind, id, made.fd);
}

/** Has a process that was born in another namespace return to that of Stasis. */
function joinOurs(task: RestoreTask, kind: NamespaceKind): void {
  using own = atHome(() => openNamespace('self', kind.name));
  enterNamespace(task, kind.flag, own.number);
}

/**
 * Makes the network namespaces of the tree that belong to a user namespace, or to ours, since sockets are made before
 * any other process. Stasis stays in that of the root: a process is born in the namespace that its maker is in.
 */
export function makeNetworks(context: RestoreContext, plan: Plan, stay: NetworkStay, owner: number | undefined): void {
  atHome(() => makeMissingNetworks(context, plan, owner));
  if (savedOwner(context, rootIds(plan).net) === owner) stayWithRoot(context, plan, stay);
}

/**
 * Makes the user namespaces of the tree, but for the one that its root was born in, and the network namespaces that
 * belong to them.
 */
export function makeUserNamespaces(context: RestoreContext, plan: Plan, stay: NetworkStay): void {
  for (const id of USER_IDS.of(context)) {
    if (!MADE_NAMESPACES.of(context).get('user', id)) USERS.load().makeUsers(context, id);
    makeNetworks(context, plan, stay, id);
  }
}

const USERS = new Part(
  () => require('../../namespaces/user/kind.ts') as typeof import('../../namespaces/user/kind.ts'),
);

function makeMissingNetworks(context: RestoreContext, plan: Plan, owner: number | undefined): void {
  const kind = namespaceKinds.find(({ name }) => name === 'net');
  const root = plan.tasks.get(plan.root)?.namespaces.net ?? plan.ours.net;
  const ofTasks = [...plan.tasks.values()].map(({ namespaces }) => namespaces.net);
  const all = new Set([root, ...ofTasks, ...emptyNamespaces(context, 'net')]);
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
  const all = [...plan.tasks.values()].map(({ namespaces }) => namespaces);
  const { net, pid } = plan.ours;
  const mayBeGiven =
    context.options.joinNamespaces.length > 0 ||
    hasEmptyNamespaces(context) ||
    all.some((of) => of.net !== net || of.pid !== pid);
  if (mayBeGiven) GIVEN.load().takeGiven(context, rootIds(plan), all);
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
  using fd = owner === undefined ? ownNetwork() : EMPTY.load().madeInside(context, kind, id);
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

const GIVEN = new Part(() => require('../../namespaces/given.ts') as typeof import('../../namespaces/given.ts'));

// For trees with user namespaces, or with namespaces that no process is in.
const EMPTY = new Part(() => require('./empty-namespaces.ts') as typeof import('./empty-namespaces.ts'));

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
  kind.entered?.(task, id);
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
  enterNamespace({ seed, batch }, CLONE.NEWPID, made?.fd ?? own?.number ?? localFd(-1));
}

/** Has a task make its next children where it would have made them. It makes none during the restore any more. */
export function setPidsForChildren(task: RestoreTask, places: PidPlaces): void {
  const namespace = places.forChildren.get(task.pid);
  if (namespace === undefined) return;
  if (namespace === 0) task.batch.call('unshare', CLONE.NEWPID);
  else choosePids(task.context, task.seed, task.batch, namespace);
}
