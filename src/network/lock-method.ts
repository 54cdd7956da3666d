/** How the connections of a dump are locked, as the inventory numbers it. */
import type { DumpContext } from '../contract/contract.ts';
import { CONNECTIONS } from './connections.ts';

/** CRIU's `enum NETWORK_LOCK_METHOD`, which is not that of its RPC. */
export const LOCK_METHODS = { iptables: 0, nftables: 1, skip: 2 } as const;

/** Whether the connections of a dump are locked: not those that are let go. */
export function isLocking({ tree, options }: DumpContext): boolean {
  return options.networkLock !== 'skip' && !options.tcpClose && CONNECTIONS.of(tree).length > 0;
}

/**
 * The number for the inventory. Where nothing is locked it is the one for which CRIU does nothing either: of a method
 * with a table it would miss the table.
 */
export function lockMethod(context: DumpContext): number {
  const { networkLock } = context.options;
  return networkLock === 'skip' || isLocking(context) ? LOCK_METHODS[networkLock] : LOCK_METHODS.iptables;
}
