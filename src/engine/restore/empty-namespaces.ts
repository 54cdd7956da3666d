/** Makes namespaces that no process of the tree makes: others enter them, or nobody does. */
import { StasisError } from '../../base/errors.ts';
import type { NamespaceKind, RestoreContext } from '../../contract/contract.ts';
import type { Fd } from '../../kernel/syscall.ts';
import { emptyNamespaces } from '../../namespaces/empty.ts';
import { atHome, openNamespace } from '../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { helperInUsers } from '../../namespaces/user/helper.ts';
import { savedOwner } from '../../namespaces/user/saved.ts';

/**
 * Makes the IPC and UTS namespaces that no process of the tree is in. The user namespaces that they belong to exist,
 * and so do all network namespaces.
 */
export function makeEmptyNamespaces(context: RestoreContext): void {
  for (const kind of namespaceKinds) {
    if (kind.name !== 'ipc' && kind.name !== 'uts') continue;
    for (const id of emptyNamespaces(context, kind.name)) {
      using fd = madeInside(context, kind, savedOwner(context, id));
      const namespace = { name: kind.name, id, fd: fd.number };
      MADE_NAMESPACES.of(context).add(namespace);
      fd.release();
      atHome(() => kind.rebuild?.(namespace, context));
    }
  }
}

/** A new namespace that belongs to a user namespace of the tree; to ours, if `owner` is undefined. */
export function madeInside(context: RestoreContext, { name, flag }: NamespaceKind, owner: number | undefined): Fd {
  const users = owner === undefined ? undefined : MADE_NAMESPACES.of(context).get('user', owner);
  if (owner !== undefined && !users) {
    throw new StasisError({ kind: 'internal', reason: `user namespace ${owner} is not there yet` });
  }
  const { seed, batch } = helperInUsers(users?.fd);
  using _ = seed;
  batch.call('unshare', flag);
  batch.flush();
  return openNamespace(seed.tracee.pid, name);
}
