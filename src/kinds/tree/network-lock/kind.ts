/**
 * The network lock: from the freeze until they go on, packets of the tree's connections are dropped. Otherwise the
 * kernel would acknowledge what nobody saves any more, and when the tasks are gone it would answer their peers with RST
 * (`tcp_v4_send_reset()`). TCP sends again what was dropped.
 */
import { hostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext, SeenTree, TaskKind, TreeDoors } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { NETLINK } from '../../../kernel/constants/netlink.ts';
import { probeNftables } from '../../../kernel/netlink/nftables.ts';
import { NetlinkError, NetlinkSocket } from '../../../kernel/netlink/socket.ts';
import { ERRNO } from '../../../kernel/syscall.ts';
import { CONNECTIONS, SAVED_CONNECTIONS } from '../../../network/connections.ts';
import { isLocking, LOCK_METHODS } from '../../../network/lock-method.ts';
import { DumpLocks } from './dump-locks.ts';
import { missingPrograms } from './iptables.ts';
import { RestoreLocks } from './restore-lock.ts';

/** Registered before the sockets of IP: at the end of a restore connections go on when the lock is lifted. */
export const networkLock: TaskKind = {
  name: 'network lock',
  tree: {
    survey,
    frozen(context) {
      if (isLocking(context)) DUMP_LOCK.of(context);
    },
    // Not later: without a lock, the kernel would answer the peers with RST as soon as the machine has the address.
    begin(context) {
      if (isLocked(context)) RESTORE_LOCK.of(context);
    },
    restoreEnd: (context, how) => RESTORE_LOCK.ifMade(context)?.end(how),
  },
};

/**
 * The end of a dump, called after that of all kinds: when the tasks are to be killed, their connections are in repair
 * mode by then and end without a word. If Stasis were killed while the lock becomes a lasting one and they were not,
 * the kernel would try to end them properly, and their ports would be in use for minutes.
 */
export const networkLockEnd: TreeDoors = {
  end: (context, how) => DUMP_LOCK.ifMade(context)?.end(how),
  dead: (context) => DUMP_LOCK.ifMade(context)?.silence(hostPid(context.tree.root.stat.ppid)),
};

const DUMP_LOCK = new Slot(orExplain(DumpLocks.make));
const RESTORE_LOCK = new Slot(orExplain(RestoreLocks.make));

/** What a lock needs is asked before the tree is frozen. */
function survey(tree: SeenTree): StasisError[] {
  const { networkLock: method, tcpClose, tcpEstablished } = tree.options;
  if (tree.frozen || method === 'skip' || tcpClose || !tcpEstablished) return [];
  const connections = CONNECTIONS.of(tree);
  if (connections.length === 0) return [];
  const missing = method === 'iptables' ? missingPrograms(connections) : [];
  if (missing.length > 0) {
    return [
      cannotLock(`there is no program ${missing.join(' or ')}`, 'install iptables, or use --network-lock nftables'),
    ];
  }
  try {
    using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
    probeNftables(socket);
    return [];
  } catch (error) {
    return [explained(error)];
  }
}

/**
 * Whether the connections of images are to be locked while they are made: where a restore has to tell by `skip` that it
 * cannot, and where the dump did without.
 */
function isLocked(context: RestoreContext): boolean {
  const { networkLock: method, tcpClose } = context.options;
  if (method === 'skip' || tcpClose || SAVED_CONNECTIONS.of(context).now.length === 0) return false;
  return context.images.inventory().network_lock_method !== LOCK_METHODS.skip;
}

function orExplain<Context, T>(make: (context: Context) => T): (context: Context) => T {
  return (context) => {
    try {
      return make(context);
    } catch (error) {
      throw explained(error);
    }
  };
}

/** The error for a lock that the kernel refuses. */
function explained(error: unknown): StasisError {
  const without = 'use --network-lock skip, with the peers kept away by other means: else the connections are lost';
  const errno = error instanceof NetlinkError ? error.errno : undefined;
  if (errno === ERRNO.EPERM) {
    // Repair mode, in which connections are read and made, takes the same capability.
    return cannotLock(
      'Stasis may not (CAP_NET_ADMIN)',
      'give Stasis CAP_NET_ADMIN, or let the connections go (--tcp-close)',
    );
  }
  const reason = error instanceof StasisError ? error.reason : String(error);
  return cannotLock(`nf_tables of the kernel refuses: ${reason}`, `load the module nf_tables, or ${without}`);
}

function cannotLock(reason: string, remedy: string): StasisError {
  return new StasisError({
    kind: 'unsupported',
    code: 'NETWORK_LOCK',
    resource: 'the network lock',
    reason: `the connections of the tree cannot be held: ${reason}`,
    remedy,
  });
}
