/**
 * PID namespaces that no process is in. Their init has ended, so that no process can be made there any more
 * (alloc_pid() in kernel/pid.c answers ENOMEM): one that never had an init cannot be opened
 * (pidns_for_children_get() in kernel/pid_namespace.c).
 */
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { OUR_NAMESPACE_IDS } from '../../images/namespace-ids.ts';
import { NS_GET } from '../../kernel/constants/namespaces.ts';
import { statusOf } from '../../kernel/statx.ts';
import { Fd, trySyscall } from '../../kernel/syscall.ts';
import { ownInode, SEEN_NAMESPACES } from '../seen.ts';

/**
 * The ID of the PID namespace around one that no process is in; undefined if that is not carried, or if it is not
 * below ours, so that nobody can tell whether processes are in it.
 */
export function parentOfEmpty(namespace: SeenNamespace, tree: SeenTree): number | undefined {
  using fd = namespace.open();
  const opened = trySyscall('ioctl', fd.number, NS_GET.PARENT, 0);
  if (opened < 0) return undefined;
  using parent = new Fd(opened);
  const { ino } = statusOf(parent.number);
  if (ino === ownInode('pid')) return OUR_NAMESPACE_IDS.pid;
  const around = SEEN_NAMESPACES.of(tree).withInode('pid', ino);
  return around && around.members.length > 0 ? around.id : undefined;
}

/** What is in the way of carrying a PID namespace that no process is in. */
export function emptyObstacle(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  if (parentOfEmpty(namespace, tree) !== undefined) return [];
  return [
    new StasisError({
      kind: 'unsupported',
      code: 'NAMESPACE_PID_NESTED',
      resource: `pid namespace ${namespace.ino}`,
      reason: 'no process of the tree is in it, or in the PID namespace around it',
      remedy: 'have the program close it before the dump',
      object: { type: 'pid namespace', inode: namespace.ino },
    }),
  ];
}
