/** What stands in the way of carrying a user namespace. */
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
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
  if (parent !== ownInode('user')) {
    const reason = 'it is inside of another user namespace than that of Stasis, which is not carried yet';
    const remedy = 'start what it holds in a user namespace that the machine itself makes';
    return namespace.members.map((task) => refuse('NAMESPACE_USER_NESTED', reason, remedy, task));
  }
  const found: StasisError[] = [];
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
  const numbered = bornInside(namespace, tree).map((task) => {
    const reason = 'its processes are in a PID namespace that is not theirs, where they may choose no numbers';
    return refuse('NAMESPACE_USER_PIDS', reason, 'start it in a PID namespace as well (unshare --pid --fork)', task);
  });
  return [...found, ...outside, ...numbered];
}

/** Processes outside of the namespace whose parents are inside. */
function leavers({ members }: SeenNamespace, { tasks, root }: SeenTree): SeenTask[] {
  const inside = new Set(members.map(({ pid }) => Number(pid)));
  return tasks.filter((task) => task !== root && !inside.has(task.pid) && inside.has(task.stat.ppid));
}

/** Processes that are born inside, or have threads that are, in a PID namespace that belongs to somebody else. */
function bornInside(namespace: SeenNamespace, tree: SeenTree): SeenTask[] {
  const { members } = namespace;
  const table = SEEN_NAMESPACES.of(tree);
  const inside = new Set(members.map(({ pid }) => Number(pid)));
  return members.filter(({ pid, stat, threads }) => {
    const isBorn = inside.has(stat.ppid) || threads.length > 1;
    const numbers = table.of(pid, 'pid');
    // In ours Stasis can see to it that they get theirs.
    return isBorn && numbers !== undefined && !numbers.ours && numbers.owner !== namespace;
  });
}
