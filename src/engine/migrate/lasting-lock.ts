/** Lifts the network lock that a dump leaves behind for the restore: the connections live elsewhere now. */
import { logWarn } from '../../base/log.ts';
import { NETLINK } from '../../kernel/constants/netlink.ts';
import { NftBatch } from '../../kernel/netlink/nftables.ts';
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts';
import { ERRNO } from '../../kernel/syscall.ts';
import { lockTable } from '../../network/lock-rules.ts';

/** Removes the table of a dump, if it has left one in our network namespace. */
export function removeLastingLock(run: string | undefined): void {
  if (run === undefined) return;
  try {
    using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
    socket.transact(new NftBatch().deleteTable(lockTable(run)).messages());
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.errno !== ERRNO.ENOENT) logWarn('migrate.ts', `the network lock stays: ${error.message}`);
  }
}
