/**
 * The lock of a restore. The one that the dump has left is lifted when the restore has succeeded, and only then. Until
 * that moment there is one of our own besides, since the dump may have been made on another machine or be restored with
 * other addresses; it vanishes if Stasis is killed.
 */
import type { RestoreContext, RestoreEnd } from '../../../contract/contract.ts';
import { NETLINK } from '../../../kernel/constants/netlink.ts';
import { NFT_TABLE_F } from '../../../kernel/constants/nftables.ts';
import { NftBatch } from '../../../kernel/netlink/nftables.ts';
import { NetlinkSocket } from '../../../kernel/netlink/socket.ts';
import type { Fd } from '../../../kernel/syscall.ts';
import { SAVED_CONNECTIONS } from '../../../network/connections.ts';
import { LOCK_METHODS } from '../../../network/lock-method.ts';
import { addLock, lockTable } from '../../../network/lock-rules.ts';
import { unlockByIptables } from './iptables.ts';
import { deleteTableIfAny, ownComment, ownTable, removeLeftovers } from './tables.ts';

/** More descriptors than Stasis has open besides those of the tree. */
const SPARE = 256;

export class RestoreLock {
  readonly #socket: NetlinkSocket;
  readonly #context: RestoreContext;
  /** Closed after the sockets if Stasis is killed, so that what they send then does not get out. */
  readonly #last: Fd | undefined;

  private constructor(context: RestoreContext, socket: NetlinkSocket) {
    this.#context = context;
    this.#socket = socket;
    removeLeftovers(socket);
    const batch = new NftBatch();
    const traits = { flags: NFT_TABLE_F.OWNER, comment: ownComment() };
    addLock(batch, ownTable(), traits, SAVED_CONNECTIONS.of(context).now);
    socket.transact(batch.messages());
    this.#last = socket.duplicateAbove(SPARE + 2 * context.fileEntries.size);
  }

  /** Locks the connections that are about to be made. @throws NetlinkError */
  static make(context: RestoreContext): RestoreLock {
    const socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
    try {
      return new RestoreLock(context, socket);
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  /** Lifts our lock, and that of the images if the connections are there again. */
  end(how: RestoreEnd): void {
    using socket = this.#socket;
    using _ = this.#last;
    if (how === 'restored') {
      const { dump_criu_run_id, network_lock_method = LOCK_METHODS.iptables } = this.#context.images.inventory();
      deleteTableIfAny(socket, lockTable(dump_criu_run_id ?? this.#context.root));
      if (network_lock_method === LOCK_METHODS.iptables) unlockByIptables(SAVED_CONNECTIONS.of(this.#context).before);
    }
    deleteTableIfAny(socket, ownTable());
  }
}
