/**
 * The lock of a dump, in one network namespace. Two tables are made at once: one that vanishes with the socket it was
 * made by, so that the tree runs on unlocked when Stasis is killed, whatever the cause; and, if the tree is to end, one
 * that stays, which sees no packets before that moment (NFT_TABLE_F_DORMANT).
 */
import { logError } from '../../../base/log.ts';
import type { DumpContext, DumpEnd } from '../../../contract/contract.ts';
import { NETLINK } from '../../../kernel/constants/netlink.ts';
import { NFT_TABLE_F } from '../../../kernel/constants/nftables.ts';
import { NftBatch } from '../../../kernel/netlink/nftables.ts';
import { NetlinkSocket } from '../../../kernel/netlink/socket.ts';
import type { TcpConnection } from '../../../network/connections.ts';
import { addLock, lockTable } from '../../../network/lock-rules.ts';
import { RUN_ID } from '../../../support/run-id.ts';
import { lockByIptables } from './iptables.ts';
import { ownComment, ownTable, removeLeftovers } from './tables.ts';

export class DumpLock {
  readonly #socket: NetlinkSocket;
  readonly #connections: readonly TcpConnection[];
  /** The table that is to stay; undefined if the tree runs on. */
  readonly #lasting: string | undefined;
  readonly #byIptables: boolean;

  private constructor(
    { options }: DumpContext,
    connections: readonly TcpConnection[],
    lasting: string | undefined,
    socket: NetlinkSocket,
  ) {
    this.#socket = socket;
    this.#lasting = lasting;
    this.#byIptables = options.networkLock === 'iptables';
    this.#connections = connections;
    removeLeftovers(socket);
    const batch = new NftBatch();
    addLock(batch, ownTable(), { flags: NFT_TABLE_F.OWNER, comment: ownComment() }, this.#connections);
    if (lasting) addLock(batch, lasting, { flags: NFT_TABLE_F.DORMANT, comment: ownComment() }, this.#connections);
    socket.transact(batch.messages());
  }

  /** Locks connections, inside of their network namespace. @throws NetlinkError */
  static make(context: DumpContext, connections: readonly TcpConnection[]): DumpLock {
    const lasting = context.options.leaveRunning ? undefined : lockTable(RUN_ID.of(context));
    const socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
    try {
      return new DumpLock(context, connections, lasting, socket);
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Unlocks the connections, or has the lock stay where the tasks are about to be killed. To be called inside as well.
   */
  end(how: DumpEnd): void {
    using socket = this.#socket;
    if (how === 'dead' && this.#lasting) {
      if (this.#byIptables && this.#becomeIptables())
        socket.transact(new NftBatch().deleteTable(this.#lasting).messages());
      else socket.transact(new NftBatch().setTable(this.#lasting, 0).messages());
      return;
    }
    const batch = new NftBatch().deleteTable(ownTable());
    if (this.#lasting) batch.deleteTable(this.#lasting);
    socket.transact(batch.messages());
  }

  /** Returns whether iptables has the lock. If not, the table stays, which a restore by Stasis removes as well. */
  #becomeIptables(): boolean {
    try {
      lockByIptables(this.#connections, this.#socket.descriptor);
      return true;
    } catch (error) {
      logError('dump-lock.ts', error instanceof Error ? error.message : String(error));
      return false;
    }
  }
}
