/**
 * PID namespaces. The root of the tree, if it is the init of its namespace, is born in it; so are the inits of those
 * further in, which their parents make. Images hold the numbers that the namespace of the root gives; those further in
 * are in a file of our own (images/pid-places.ts). The numbers that processes have further out are neither saved nor
 * made again.
 */
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { DumpContext, NamespaceKind, SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { Images } from '../../images/kinds.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { externalName } from '../given.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { INNER_PIDS, otherPidsForChildren } from './seen.ts';

function obstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const { root } = tree;
  const [member] = namespace.members;
  if (!member) return [];
  const refuse = (
    code: 'NAMESPACE_PID_NESTED' | 'NAMESPACE_PID_INIT' | 'NAMESPACE_USER_PIDS',
    task: SeenTask,
    reason: string,
    remedy: string,
  ) =>
    new StasisError({
      kind: 'unsupported',
      code,
      task: task.ref,
      resource: `pid namespace ${namespace.ino}`,
      reason,
      remedy,
      object: { type: 'pid namespace', inode: namespace.ino },
    });
  const isInit = ({ status }: SeenTask): boolean => status.nsPid?.at(-1) === 1;
  if (SEEN_NAMESPACES.of(tree).of(root.pid, 'pid') === namespace) {
    if (isInit(root) || externalName(namespace, tree.options)) return [];
    const reason = 'the root of the tree is not the init (PID 1) of its PID namespace, without which there is none';
    const another = `--external 'pid[${namespace.ino}]:NAME', and give another one at the restore (--inherit-fd)`;
    return [refuse('NAMESPACE_PID_INIT', root, reason, `name with -t the process that is PID 1 in it; or ${another}`)];
  }
  if (!namespace.members.some(isInit)) {
    const reason = 'the init (PID 1) of its PID namespace is not a process of the tree';
    return [refuse('NAMESPACE_PID_NESTED', member, reason, 'name with -t a process that is above that as well')];
  }
  if (!INNER_PIDS.of(tree).some(({ ino }) => ino === namespace.ino)) {
    const reason = 'no process of the tree is in the PID namespace around its own';
    return [refuse('NAMESPACE_PID_NESTED', member, reason, 'name with -t a process of that')];
  }
  const stranger = memberOfOtherUsers(namespace, tree);
  if (!stranger) return [];
  const reason = 'it, or one around it, belongs to another user namespace than those in it, or their maker, are in';
  return [refuse('NAMESPACE_USER_PIDS', stranger, reason, 'name with -t the init (PID 1) of the PID namespace')];
}

/**
 * A process of a namespace, or the parent of its init, in another user namespace than the one which that namespace and
 * all around it belong to: it may choose no numbers there (alloc_pid() in kernel/pid.c).
 */
function memberOfOtherUsers(namespace: SeenNamespace, tree: SeenTree): SeenTask | undefined {
  const table = SEEN_NAMESPACES.of(tree);
  const usersOf = (pid: HostPid): SeenNamespace | undefined => {
    const users = table.of(pid, 'user');
    return users?.ours ? undefined : users;
  };
  const owners = table.others.filter(({ name }) => name === 'pid').map(({ owner }) => owner);
  const outermost = table.of(tree.root.pid, 'pid')?.owner;
  const inits = namespace.members.filter(({ status }) => status.nsPid?.at(-1) === 1);
  const makers = tree.tasks.filter(({ pid }) => inits.some(({ stat }) => stat.ppid === pid));
  return [...namespace.members, ...makers].find(({ pid }) => {
    const users = usersOf(pid);
    return users !== outermost || owners.some((owner) => owner !== users);
  });
}

/** The obstacle that the next children of a process are to be in a PID namespace that is not carried. */
export function childrenObstacle(task: SeenTask): StasisError | undefined {
  const other = otherPidsForChildren(task.pid, task.tree);
  if (other === undefined || other === 'new' || other.id !== undefined) return undefined;
  return new StasisError({
    kind: 'unsupported',
    code: 'NAMESPACE_PID_NESTED',
    task: task.ref,
    reason: 'the next children of the process are to be in a PID namespace that no process of the tree is in',
    remedy: 'if its init has ended, no child can be made there any more: end the process',
  });
}

/** Of a namespace that somebody else makes images have the name alone. */
function capture(namespace: SeenNamespace, { tree, images, options }: DumpContext): void {
  const key = externalName(namespace, options);
  if (key === undefined || SEEN_NAMESPACES.of(tree).of(tree.root.pid, 'pid') !== namespace) return;
  images.write(Images.pidns, namespace.id, [{ ext_key: key }]);
}

export const pidNamespace: NamespaceKind = { name: 'pid', flag: CLONE.NEWPID, obstacles, capture };
