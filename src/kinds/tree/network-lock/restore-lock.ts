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
import { inside, openNamespace } from '../../../namespaces/inside.ts';
import { inSavedNetwork } from '../../../namespaces/networks.ts';
import { SAVED_CONNECTIONS, type TcpConnection } from '../../../network/connections.ts';
import { LOCK_METHODS } from '../../../network/lock-method.ts';
import { addLock, lockTable } from '../../../network/lock-rules.ts';
import { unlockByIptables } from './iptables.ts';
import { deleteTableIfAny, ownComment, ownTable, removeLeftovers } from './tables.ts';

/** More descriptors than Stasis has open besides those of the tree. */
const SPARE = 256;

export class RestoreLock {
  readonly #socket: NetlinkSocket;
  readonly #context: RestoreContext;
  /** The network namespace: its ID in the images, and a descriptor. */
  readonly #network: number;
  readonly #inside: Fd;
  /** Closed after the sockets if Stasis is killed, so that what they send then does not get out. */
  readonly #last: Fd | undefined;

  private constructor(context: RestoreContext, network: number, socket: NetlinkSocket) {
    this.#context = context;
    this.#network = network;
    this.#inside = openNamespace('self', 'net');
    this.#socket = socket;
    removeLeftovers(socket);
    const batch = new NftBatch();
    const traits = { flags: NFT_TABLE_F.OWNER, comment: ownComment() };
    addLock(batch, ownTable(), traits, ofNetwork(SAVED_CONNECTIONS.of(context).now, network));
    socket.transact(batch.messages());
    this.#last = socket.duplicateAbove(SPARE + 2 * context.fileEntries.size);
  }

  /** Locks the connections that are about to be made in a network namespace, from inside. @throws NetlinkError */
  static make(context: RestoreContext, network: number): RestoreLock {
    const socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
    try {
      return new RestoreLock(context, network, socket);
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  /** Lifts our lock, and that of the images if the connections are there again. */
  end(how: RestoreEnd): void {
    using socket = this.#socket;
    using _ = this.#last;
    using namespace = this.#inside;
    if (how === 'restored') {
      const { dump_criu_run_id, network_lock_method = LOCK_METHODS.iptables } = this.#context.images.inventory();
      deleteTableIfAny(socket, lockTable(dump_criu_run_id ?? this.#context.root));
      if (network_lock_method === LOCK_METHODS.iptables) {
        const own = ofNetwork(SAVED_CONNECTIONS.of(this.#context).before, this.#network);
        inside('net', namespace.number, () => unlockByIptables(own));
      }
    }
    deleteTableIfAny(socket, ownTable());
  }
}

function ofNetwork(connections: readonly TcpConnection[], network: number): TcpConnection[] {
  return connections.filter((connection) => connection.network === network);
}

/** The locks of a restore: one in each network namespace in which connections are made and that is there before. */
export class RestoreLocks {
  readonly #locks: RestoreLock[] = [];

  /** @throws NetlinkError */
  static make(context: RestoreContext): RestoreLocks {
    const locks = new RestoreLocks();
    const networks = new Set(SAVED_CONNECTIONS.of(context).now.map(({ network }) => network));
    try {
      for (const network of networks) {
        locks.#locks.push(inSavedNetwork(context, network, () => RestoreLock.make(context, network)));
      }
      return locks;
    } catch (error) {
      locks.end('failed');
      throw error;
    }
  }

  /** Lifts our locks, and those of the images if the connections are there again. */
  end(how: RestoreEnd): void {
    for (const lock of this.#locks.splice(0)) lock.end(how);
  }
}
