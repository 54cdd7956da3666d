/** The locks of a dump and of a restore, for trees that have connections. */
import { StasisError } from '../../../base/errors.ts';
import type { SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { NETLINK } from '../../../kernel/constants/netlink.ts';
import { probeNftables } from '../../../kernel/netlink/nftables.ts';
import { NetlinkError, NetlinkSocket } from '../../../kernel/netlink/socket.ts';
import { ERRNO } from '../../../kernel/syscall.ts';
import { CONNECTIONS } from '../../../network/connections.ts';
import { DumpLocks } from './dump-locks.ts';
import { missingPrograms } from './iptables.ts';
import { RestoreLocks } from './restore-lock.ts';

export const DUMP_LOCK = new Slot(orExplain(DumpLocks.make));
export const RESTORE_LOCK = new Slot(orExplain(RestoreLocks.make));

/** What stands in the way of a lock for the connections of a tree. */
export function lockObstacles(tree: SeenTree): StasisError[] {
  const connections = CONNECTIONS.of(tree);
  if (connections.length === 0) return [];
  const missing = tree.options.networkLock === 'iptables' ? missingPrograms(connections) : [];
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
