/**
 * Locks in network namespaces that a restore makes. Nobody from outside can reach connections there yet, but the kernel
 * itself answers what they send with RST while there is no socket at their other ends, and there may never be one: it
 * was in TIME_WAIT, or its process had closed it.
 */
import { logWarn } from '../base/log.ts';
import type { RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { NetlinkError } from '../kernel/netlink/socket.ts';
import { isNetworkThere } from '../namespaces/networks.ts';
import type { TcpConnection } from './connections.ts';
import { ShortLock } from './lock-rules.ts';

/** One for each namespace, by its ID in the images. */
const LOCKS = new Slot((_: RestoreContext) => new Map<number, ShortLock>());

/**
 * Locks a connection until the end of the restore, from inside of its network namespace, if the restore has made that.
 * Where the kernel has no nf_tables it goes without: most restores are faster than the answer.
 */
export function lockIfMade(context: RestoreContext, connection: TcpConnection): void {
  const { network } = connection;
  if (context.options.networkLock === 'skip' || isNetworkThere(context, network)) return;
  const locks = LOCKS.of(context);
  const lock = locks.get(network);
  try {
    if (lock) lock.add([connection]);
    else locks.set(network, new ShortLock([connection]));
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    logWarn('made-locks.ts', `a connection in a new network namespace is not locked: ${error.message}`);
  }
}

/** Lifts these locks. */
export function liftMadeLocks(context: RestoreContext): void {
  const locks = LOCKS.ifMade(context);
  for (const lock of locks?.values() ?? []) lock[Symbol.dispose]();
  locks?.clear();
}
