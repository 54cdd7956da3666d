/**
 * PID namespaces. The root of the tree, which is the init of its namespace, is born in it; the numbers of all its
 * processes are free there. Its processes have other numbers as well, one in each namespace further out, and these are
 * neither saved nor made again.
 */
import { StasisError } from '../../base/errors.ts';
import type { NamespaceKind, SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { tryReadLink } from '../../kernel/files.ts';
import { SEEN_NAMESPACES } from '../seen.ts';

function obstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const { root } = tree;
  const [member] = namespace.members;
  if (!member) return [];
  const refuse = (
    code: 'NAMESPACE_PID_NESTED' | 'NAMESPACE_PID_INIT',
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
  if (SEEN_NAMESPACES.of(tree).of(root.pid, 'pid') !== namespace) {
    const reason = `the process is in another PID namespace than the root of the tree (${root.pid}), which is not carried yet`;
    return [refuse('NAMESPACE_PID_NESTED', member, reason, 'dump the processes of each PID namespace by themselves')];
  }
  if (root.status.nsPid?.at(-1) !== 1) {
    const reason = 'the root of the tree is not the init (PID 1) of its PID namespace, without which there is none';
    return [refuse('NAMESPACE_PID_INIT', root, reason, 'name with -t the process that is PID 1 in it')];
  }
  return [];
}

/**
 * Whether the children of a process are to be in another PID namespace than itself, after unshare(2) or setns(2). Until
 * the first of them exists, that namespace has no init, and the kernel shows no link (pidns_for_children_get()).
 */
export function hasOtherPidsForChildren({ pid }: SeenTask, own: SeenNamespace | undefined): boolean {
  if (!own) return false;
  const children = tryReadLink(`/proc/${pid}/ns/pid_for_children`);
  if (children === `pid:[${own.ino}]`) return false;
  // Kernels before 4.12 show it for nobody.
  return typeof children === 'string' || typeof tryReadLink('/proc/self/ns/pid_for_children') === 'string';
}

export const pidNamespace: NamespaceKind = { name: 'pid', flag: CLONE.NEWPID, obstacles };
