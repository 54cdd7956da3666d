/** What stands in the way of carrying a user namespace. */
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { tryReadLink } from '../../kernel/files.ts';
import { isInit } from '../../kernel/proc/status.ts';
import { allProcesses } from '../../kernel/proc/tree.ts';
import { NO_ID } from '../../support/user-ids.ts';
import { ownInode, parentIn, SEEN_NAMESPACES, usersDownTo } from '../seen.ts';
import { inhabitants, SEEN_USERS } from './seen.ts';

/** Everything about a user namespace that cannot be carried. */
export function userObstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const among = inhabitants(namespace, tree);
  const member = among[0] ?? tree.root;
  const refuse = (code: ErrorCode, reason: string, remedy: string, task: SeenTask = member): StasisError =>
    new StasisError({
      kind: 'unsupported',
      code,
      task: task.ref,
      resource: `user namespace ${namespace.ino}`,
      reason,
      remedy,
      object: { type: 'user namespace', inode: namespace.ino },
    });
  const { parent, strangers, groups, groupsAgree } = SEEN_USERS.of(tree, namespace);
  const { owner: around, members } = namespace;
  if (parent !== ownInode('user') && !around) {
    const reason = 'it is inside of another user namespace, which is not inside of that of Stasis';
    const whose = among.length > 0 ? among : [member];
    return whose.map((task) => refuse('NAMESPACE_USER_NESTED', reason, 'dump it as root of the machine', task));
  }
  const outsider = members.length === 0 && among.length > 0 ? outsiderIn(namespace) : undefined;
  if (outsider !== undefined) {
    const reason = `processes outside of the tree are in it (${outsider}), and those of the tree are further in`;
    const remedy = `name with -t a process that those in it come from`;
    return among.map((task) => refuse('NAMESPACE_USER_NESTED', reason, remedy, task));
  }
  const found: StasisError[] = [];
  if (around && isBeyond(namespace, around, tree)) {
    const reason = 'its processes have users or groups that have no ID in the user namespace around it either';
    found.push(refuse('NAMESPACE_USER_IDS', reason, 'give these users and groups an ID in the uid_map and gid_map'));
  }
  if (strangers.uids.length > 1 || strangers.gids.length > 1) {
    const reason = 'its processes have several users or groups without an ID in it, which nobody can give them there';
    found.push(refuse('NAMESPACE_USER_IDS', reason, 'give these users and groups an ID in its uid_map and gid_map'));
  }
  if (groups && !groupsAgree) {
    const reason = 'its processes are in different groups, and such as have no ID in it cannot be set there';
    found.push(refuse('NAMESPACE_USER_IDS', reason, 'give the groups an ID in its gid_map, and allow setgroups'));
  }
  const table = SEEN_NAMESPACES.of(tree);
  if (namespace.members.includes(tree.root)) {
    const way = usersDownTo(namespace);
    // Its PID namespace is made with the first user namespace.
    const isMade = (name: string, owner: SeenNamespace | undefined): boolean =>
      owner !== undefined && (name === 'pid' ? owner === way[0] : way.includes(owner));
    const others = table.others.filter(({ name, owner, members }) => {
      return (
        name !== 'user' && name !== 'net' && name !== 'time' && !isMade(name, owner) && members.includes(tree.root)
      );
    });
    if (others.length > 0) {
      const names = others.map(({ name, ino }) => `${name} namespace ${ino}`).join(', ');
      const reason = `the root of the tree is in it, but its ${names} belongs to one that it is not born in`;
      found.push(
        refuse('NAMESPACE_USER_OWNER', reason, 'name with -t the process outside that has made it', tree.root),
      );
    }
  }
  const outside = leavers(namespace, tree).map((task) => {
    const reason =
      'the process is outside of the user namespace that its parent is in, so that it cannot be born there';
    return refuse('NAMESPACE_USER_OWNER', reason, 'dump the tree before the parent enters the namespace', task);
  });
  const strays = members
    .filter((task) => task !== tree.root && !comesFrom(task, namespace, tree))
    .map((task) => {
      const reason = 'its parent is neither in it nor in a user namespace around it, so that it cannot be born there';
      return refuse('NAMESPACE_USER_OWNER', reason, 'dump it while the process that has started it lives', task);
    });
  const misplaced = ofOtherOwners(namespace, tree).map(({ name, ino, members: [task] }) => {
    const reason = `its ${name} namespace ${ino} belongs to a user namespace that it would not pass through on its way in`;
    return refuse('NAMESPACE_USER_OWNER', reason, 'dump it while the process that has made that namespace lives', task);
  });
  return [...found, ...outside, ...strays, ...misplaced];
}

/** Types of namespaces that belong to the user namespace that the first process in them is in when it makes them. */
const MADE_BY_MEMBERS: ReadonlySet<string> = new Set(['mnt', 'ipc', 'uts', 'cgroup']);

/**
 * Namespaces whose first member, which is in this user namespace, would not make them in the one that they belong to: a
 * process makes what it needs where it is born, and in each user namespace that it enters from there.
 */
function ofOtherOwners(namespace: SeenNamespace, tree: SeenTree): SeenNamespace[] {
  const table = SEEN_NAMESPACES.of(tree);
  return table.others.filter(({ name, owner, members: [first] }) => {
    if (!MADE_BY_MEMBERS.has(name) || !first || first === tree.root) return false;
    if (table.of(first.pid, 'user') !== namespace) return false;
    const way = usersDownTo(namespace);
    const born = birthplaceOf(first, tree);
    return owner !== born && !(owner && way.indexOf(owner) > (born ? way.indexOf(born) : -1));
  });
}

/** The user namespace that a process is born in at a restore; undefined for ours. */
function birthplaceOf(task: SeenTask, tree: SeenTree): SeenNamespace | undefined {
  const table = SEEN_NAMESPACES.of(tree);
  const parent = parentIn(tree, task);
  const users = parent && table.of(parent.pid, 'user');
  const own = users?.ours ? undefined : users;
  if (!isInit(task.status)) return own;
  // Its PID namespace may belong to one further in.
  const { owner } = table.of(task.pid, 'pid') ?? {};
  return usersDownTo(owner).length > usersDownTo(own).length ? owner : own;
}

/** A process in a user namespace; undefined if there is none: those that we may not look at are not inside of ours. */
function outsiderIn({ ino }: SeenNamespace): number | undefined {
  return allProcesses().find((pid) => tryReadLink(`/proc/${pid}/ns/user`) === `user:[${ino}]`);
}

/** Whether processes of a namespace have IDs that those of the one around it can neither take nor have. */
function isBeyond(namespace: SeenNamespace, around: SeenNamespace, tree: SeenTree): boolean {
  const { strangers, groups } = SEEN_USERS.of(tree, namespace);
  const outer = SEEN_USERS.of(tree, around);
  const uid = (id: number): boolean => outer.maps.uidThere(id) !== NO_ID || outer.strangers.uids.includes(id);
  const gid = (id: number): boolean => outer.maps.gidThere(id) !== NO_ID || outer.strangers.gids.includes(id);
  if (!strangers.uids.every(uid) || !strangers.gids.every(gid)) return true;
  if (!groups) return false;
  return outer.groups ? outer.groups.join() !== groups.join() : groups.some((id) => outer.maps.gidThere(id) === NO_ID);
}

/** Whether the parent of a process is in the same user namespace or in one around it. */
function comesFrom(task: SeenTask, namespace: SeenNamespace, tree: SeenTree): boolean {
  const parent = parentIn(tree, task);
  const users = parent && SEEN_NAMESPACES.of(tree).of(parent.pid, 'user');
  return !users || users.ours || isWithin(namespace, users);
}

/** Whether a user namespace is another one or inside of that. */
function isWithin(namespace: SeenNamespace | undefined, outer: SeenNamespace): boolean {
  return namespace !== undefined && (namespace === outer || isWithin(namespace.owner, outer));
}

/** Processes that are not within the user namespace that their parents are in. */
function leavers(namespace: SeenNamespace, { tasks, root }: SeenTree): SeenTask[] {
  const { members } = namespace;
  const inside = new Set(members.map(({ pid }) => Number(pid)));
  return tasks.filter((task) => {
    if (task === root || !inside.has(task.stat.ppid)) return false;
    const own = SEEN_NAMESPACES.of(task.tree).of(task.pid, 'user');
    // Of a process of a running tree that has ended meanwhile nothing is known.
    return own !== undefined && !isWithin(own, namespace);
  });
}
