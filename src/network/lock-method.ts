/** How the connections of a dump are locked, as the inventory numbers it. */
import { Part } from '../base/part.ts';
import type { DumpContext, SeenTree } from '../contract/contract.ts';
import { AF } from '../kernel/constants/sockets.ts';

// Only for trees that have sockets of IP.
const CONNECTIONS = new Part(() => require('./connections.ts') as typeof import('./connections.ts'));

/** CRIU's `enum NETWORK_LOCK_METHOD`, which is not that of its RPC. */
export const LOCK_METHODS = { iptables: 0, nftables: 1, skip: 2 } as const;

/** Whether the connections of a dump are locked: not those that are let go. */
export function isLocking({ tree, options }: DumpContext): boolean {
  return options.networkLock !== 'skip' && !options.tcpClose && hasConnections(tree);
}

function hasConnections(tree: SeenTree): boolean {
  const isInet = (family: number | undefined): boolean => family === AF.INET || family === AF.INET6;
  if (!tree.tasks.some(({ fds }) => fds.some((file) => isInet(file.socketDomain())))) return false;
  return CONNECTIONS.load().CONNECTIONS.of(tree).length > 0;
}

/**
 * The number for the inventory. Where nothing is locked it is the one for which CRIU does nothing either: of a method
 * with a table it would miss the table.
 */
export function lockMethod(context: DumpContext): number {
  const { networkLock } = context.options;
  return networkLock === 'skip' || isLocking(context) ? LOCK_METHODS[networkLock] : LOCK_METHODS.iptables;
}
