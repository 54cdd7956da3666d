/** What stands in the way of carrying a user namespace. */
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { NO_ID } from '../../support/user-ids.ts';
import { ownInode, SEEN_NAMESPACES } from '../seen.ts';
import { SEEN_USERS } from './seen.ts';

/** Everything about a user namespace that cannot be carried. */
export function userObstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const [member] = namespace.members;
  if (!member) return [];
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
  if (parent !== ownInode('user') && (!around || members.includes(tree.root))) {
    const reason = 'it is inside of another user namespace, which is neither that of Stasis nor in the tree';
    const remedy = 'start it in one user namespace only, or name with -t a process of the one around it';
    return members.map((task) => refuse('NAMESPACE_USER_NESTED', reason, remedy, task));
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
    const others = table.others.filter(({ name, owner, members }) => {
      return name !== 'user' && name !== 'net' && name !== 'time' && owner !== namespace && members.includes(tree.root);
    });
    if (others.length > 0) {
      const names = others.map(({ name, ino }) => `${name} namespace ${ino}`).join(', ');
      const reason = `the root of the tree is in it, but its ${names} belongs to the machine`;
      found.push(
        refuse('NAMESPACE_USER_OWNER', reason, 'name with -t the process outside that has made it', tree.root),
      );
    }
  }
  const nets = table.others.filter(({ name, owner }) => name === 'net' && owner === namespace);
  if (nets.length > 0 && !namespace.members.includes(tree.root)) {
    const reason = `network namespace ${nets[0]?.ino} belongs to it, in which the root of the tree is not: not carried yet`;
    found.push(refuse('NAMESPACE_USER_OWNER', reason, `name with -t the first process that is in it (${member.pid})`));
  }
  const outside = leavers(namespace, tree).map((task) => {
    const reason =
      'the process is outside of the user namespace that its parent is in, so that it cannot be born there';
    return refuse('NAMESPACE_USER_OWNER', reason, 'dump the tree before the parent enters the namespace', task);
  });
  const strays = members
    .filter((task) => task !== tree.root && !comesFrom(task, namespace, tree))
    .map((task) => {
      const reason = 'its parent is neither in it nor in the user namespace around it, so that it cannot be born there';
      return refuse('NAMESPACE_USER_OWNER', reason, 'dump it while the process that has started it lives', task);
    });
  const numbered = bornInside(namespace, tree).map((task) => {
    const reason = 'its processes are in a PID namespace that is not theirs, where they may choose no numbers';
    return refuse('NAMESPACE_USER_PIDS', reason, 'start it in a PID namespace as well (unshare --pid --fork)', task);
  });
  return [...found, ...outside, ...strays, ...numbered];
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

/** Whether the parent of a process is in the same user namespace or in the one around it. */
function comesFrom({ stat }: SeenTask, namespace: SeenNamespace, tree: SeenTree): boolean {
  const parent = tree.tasks.find(({ pid }) => Number(pid) === stat.ppid);
  const users = parent && SEEN_NAMESPACES.of(tree).of(parent.pid, 'user');
  return !users || users === namespace || (users.ours ? undefined : users) === namespace.owner;
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
    return !isWithin(SEEN_NAMESPACES.of(task.tree).of(task.pid, 'user'), namespace);
  });
}

/**
 * Processes that are born inside, or have threads that are, in a PID namespace in which neither they nor the root of
 * the tree can see to it that they get their numbers.
 */
function bornInside(namespace: SeenNamespace, tree: SeenTree): SeenTask[] {
  const { members } = namespace;
  const { root } = tree;
  const table = SEEN_NAMESPACES.of(tree);
  const inside = new Set(members.map(({ pid }) => Number(pid)));
  const ofRoot = table.of(root.pid, 'pid');
  return members.filter(({ pid, stat, threads }) => {
    const isBorn = inside.has(stat.ppid) || threads.length > 1;
    const numbers = table.of(pid, 'pid');
    if (!isBorn || !numbers || numbers.ours || numbers.owner === namespace) return false;
    const users = table.of(root.pid, 'user');
    return numbers !== ofRoot || numbers.owner !== (users?.ours ? undefined : users);
  });
}
