/**
 * The network lock: from the freeze until they go on, packets of the tree's connections are dropped. Otherwise the
 * kernel would acknowledge what nobody saves any more, and when the tasks are gone it would answer their peers with RST
 * (`tcp_v4_send_reset()`). TCP sends again what was dropped.
 */
import { hostPid } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import type { RestoreContext, SeenTree, TaskKind, TreeDoors } from '../../../contract/contract.ts';
import { isLocking, LOCK_METHODS } from '../../../network/lock-method.ts';

// Only for trees that have connections.
const LOCKS = new Part(() => require('./locks.ts') as typeof import('./locks.ts'));
const CONNECTIONS = new Part(
  () => require('../../../network/connections.ts') as typeof import('../../../network/connections.ts'),
);

/** Registered before the sockets of IP: at the end of a restore connections go on when the lock is lifted. */
export const networkLock: TaskKind = {
  name: 'network lock',
  tree: {
    survey,
    frozen(context) {
      if (isLocking(context)) LOCKS.load().DUMP_LOCK.of(context);
    },
    // Not later: without a lock, the kernel would answer the peers with RST as soon as the machine has the address.
    begin(context) {
      if (isLocked(context)) LOCKS.load().RESTORE_LOCK.of(context);
    },
    restoreEnd: (context, how) => LOCKS.ifLoaded?.RESTORE_LOCK.ifMade(context)?.end(how),
  },
};

/**
 * The end of a dump, called after that of all kinds: when the tasks are to be killed, their connections are in repair
 * mode by then and end without a word. If Stasis were killed while the lock becomes a lasting one and they were not,
 * the kernel would try to end them properly, and their ports would be in use for minutes.
 */
export const networkLockEnd: TreeDoors = {
  end: (context, how) => LOCKS.ifLoaded?.DUMP_LOCK.ifMade(context)?.end(how),
  dead: (context) => LOCKS.ifLoaded?.DUMP_LOCK.ifMade(context)?.silence(hostPid(context.tree.root.stat.ppid)),
};

/** What a lock needs is asked before the tree is frozen. */
function survey(tree: SeenTree): StasisError[] {
  const { networkLock: method, tcpClose, tcpEstablished } = tree.options;
  if (tree.frozen || method === 'skip' || tcpClose || !tcpEstablished) return [];
  return LOCKS.load().lockObstacles(tree);
}

/**
 * Whether the connections of images are to be locked while they are made: where a restore has to tell by `skip` that it
 * cannot, and where the dump did without.
 */
function isLocked(context: RestoreContext): boolean {
  const { networkLock: method, tcpClose } = context.options;
  if (method === 'skip' || tcpClose || !hasConnections(context)) return false;
  return context.images.inventory().network_lock_method !== LOCK_METHODS.skip;
}

function hasConnections(context: RestoreContext): boolean {
  for (const { isk } of context.fileEntries.values()) {
    if (isk) return CONNECTIONS.load().SAVED_CONNECTIONS.of(context).now.length > 0;
  }
  return false;
}
