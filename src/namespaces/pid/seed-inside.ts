/** Helper processes in the PID namespace of a restored tree. */
import type { MadeNamespace, RestoreContext } from '../../contract/contract.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { SEED_AREA, Seed } from '../../tracee/seed.ts';
import { openNamespace } from '../inside.ts';
import { MADE_NAMESPACES } from '../made.ts';

/**
 * Makes a seed whose PID, as the tree sees it, is `pid`, or any. If the tree has a PID namespace of its own, the seed
 * is born in that: setns(2) to a PID namespace concerns the children of the caller, and only they enter it.
 * @throws StasisError kind 'conflict' when the PID is in use
 */
export function seedInside(context: RestoreContext, pid?: number, area?: number): Seed {
  const namespace = MADE_NAMESPACES.of(context).pidsOfRoot();
  return bornIn(namespace, () => {
    if (pid === undefined) return Seed.anywhere(area);
    return Seed.create({ pid, sibling: false, taken: new Set() }, area ?? SEED_AREA);
  });
}

/** Does `make`, which makes a process, such that it is born in a PID namespace; in ours, if there is none. */
export function bornIn<T>(namespace: MadeNamespace | undefined, make: () => T): T {
  if (!namespace) return make();
  using own = openNamespace('self', 'pid');
  const entered = trySyscall('setns', namespace.fd, CLONE.NEWPID);
  if (entered < 0) throw new SyscallError('setns', -entered, { resource: 'PID namespace' });
  try {
    return make();
  } finally {
    // Our own PID namespace is always allowed (pidns_install() in kernel/pid_namespace.c).
    trySyscall('setns', own.number, CLONE.NEWPID);
  }
}
