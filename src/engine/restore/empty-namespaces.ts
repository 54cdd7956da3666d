/** Makes namespaces that no process of the tree makes: others enter them, or nobody does. */
import { StasisError } from '../../base/errors.ts';
import type { MadeNamespace, NamespaceKind, RestoreContext } from '../../contract/contract.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import type { Fd } from '../../kernel/syscall.ts';
import { emptyNamespaces, savedEmpty } from '../../namespaces/empty.ts';
import { atHome, openNamespace } from '../../namespaces/inside.ts';
import { MADE_NAMESPACES, wasOurs } from '../../namespaces/made.ts';
import { bornIn } from '../../namespaces/pid/seed-inside.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { helperInUsers } from '../../namespaces/user/helper.ts';
import { savedOwner } from '../../namespaces/user/saved.ts';
import { killTracee } from '../../tracee/ptrace.ts';

/**
 * Makes the IPC and UTS namespaces that no process of the tree is in. The user namespaces that they belong to exist,
 * and so do all network namespaces.
 */
export function makeEmptyNamespaces(context: RestoreContext): void {
  for (const kind of namespaceKinds) {
    if (kind.name !== 'ipc' && kind.name !== 'uts') continue;
    for (const id of emptyNamespaces(context, kind.name)) {
      using fd = madeInside(context, kind, id);
      const namespace = { name: kind.name, id, fd: fd.number };
      MADE_NAMESPACES.of(context).add(namespace);
      fd.release();
      atHome(() => kind.rebuild?.(namespace, context));
    }
  }
}

/** Makes what is left to be made of namespaces when all processes exist. */
export function completeNamespaces(context: RestoreContext): void {
  makeLateNamespaces(context);
  const { all } = MADE_NAMESPACES.of(context);
  for (const kind of namespaceKinds) {
    if (all.some(({ name, isGiven }) => name === kind.name && !isGiven)) atHome(() => kind.complete?.(context));
  }
}

/**
 * Makes the PID and mount namespaces that no process of the tree is in. All others exist, and so do all processes: a
 * PID namespace has one around it, and a mount namespace shows file systems that belong to others.
 */
function makeLateNamespaces(context: RestoreContext): void {
  for (const { id, parent } of savedEmpty(context, 'pid')) makeEndedPids(context, id, parent);
  const kind = namespaceKinds.find(({ name }) => name === 'mnt');
  for (const id of savedEmpty(context, 'mnt').map((saved) => saved.id)) {
    if (!kind || MADE_NAMESPACES.of(context).get('mnt', id)) continue;
    const { seed, batch } = helperInUsers(usersOf(context, id)?.fd);
    using _ = seed;
    kind.beforeEntering?.({ seed, batch, context }, id);
    batch.call('unshare', kind.flag);
    batch.flush();
    const namespace = { name: kind.name, id, fd: openNamespace(seed.tracee.pid, 'mnt').release() };
    MADE_NAMESPACES.of(context).add(namespace);
    const maker = { batch, tracee: seed.tracee };
    atHome(() => kind.rebuild?.({ ...namespace, maker }, context));
  }
}

/** Makes a PID namespace whose init has ended, inside of another one. */
function makeEndedPids(context: RestoreContext, id: number, parent: number | undefined): void {
  const made = MADE_NAMESPACES.of(context);
  if (made.get('pid', id)) return;
  const around = parent === undefined || wasOurs(context, 'pid', parent) ? undefined : made.get('pid', parent);
  if (!around && (parent === undefined || !wasOurs(context, 'pid', parent))) {
    throw new StasisError({ kind: 'internal', reason: `PID namespace ${parent} is not there yet` });
  }
  const { seed } = bornIn(around, () => helperInUsers(usersOf(context, id)?.fd, around !== undefined));
  using _ = seed;
  const share = { vm: false, files: false, fs: false, sighand: false };
  const place = { pid: 1, numbers: [1], isInit: true, isFurtherIn: true };
  const [init] = seed.fork([{ ...place, sibling: false, exitSignal: SIG.CHLD, share }]);
  if (!init) return;
  const { tracee } = init;
  made.add({ name: 'pid', id, fd: openNamespace(tracee.pid, 'pid').release() });
  killTracee(tracee.pid);
  tracee.awaitEnd();
  seed.reap(tracee.pid);
}

/** The user namespace that owns a namespace; undefined for ours. */
function usersOf(context: RestoreContext, id: number): MadeNamespace | undefined {
  const owner = savedOwner(context, id);
  if (owner === undefined) return undefined;
  const users = MADE_NAMESPACES.of(context).get('user', owner);
  if (users) return users;
  throw new StasisError({ kind: 'internal', reason: `user namespace ${owner} is not there yet` });
}

/** A new namespace with this ID in the images, which tell the user namespace that it belongs to. */
export function madeInside(context: RestoreContext, { name, flag }: NamespaceKind, id: number): Fd {
  const { seed, batch } = helperInUsers(usersOf(context, id)?.fd);
  using _ = seed;
  batch.call('unshare', flag);
  batch.flush();
  return openNamespace(seed.tracee.pid, name);
}
