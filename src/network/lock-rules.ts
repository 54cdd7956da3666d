/**
 * The rules of a network lock, as nf_tables has them: packets between the two ends of a connection are dropped, in both
 * directions, unless they have the mark of whoever makes the connection again. The connections are in sets, so that a
 * packet costs the same however many there are.
 *
 * A table has the names and the layout that CRIU gives its own, and so each of the two removes what the other has made.
 */
import { NETLINK } from '../kernel/constants/netlink.ts';
import { NF, NF_INET, NFT_META, NFT_PAYLOAD, NFT_TABLE_F } from '../kernel/constants/nftables.ts';
import { AF, IPPROTO, LOCK_MARK } from '../kernel/constants/sockets.ts';
import { namespaceOf } from '../kernel/namespace.ts';
import { u32Bytes } from '../kernel/netlink/attributes.ts';
import type { InetEnd } from '../kernel/netlink/inet-diag.ts';
import {
  isInSet,
  metaIs,
  NFT_TYPE,
  NftBatch,
  type PacketPart,
  type TableTraits,
  verdict,
} from '../kernel/netlink/nftables.ts';
import { NetlinkSocket } from '../kernel/netlink/socket.ts';
import type { TcpConnection } from './connections.ts';

const { NETWORK_HEADER: NETWORK, TRANSPORT_HEADER: TRANSPORT } = NFT_PAYLOAD;
const SOURCE_PORT: PacketPart = { header: TRANSPORT, offset: 0, size: 2 };
const DESTINATION_PORT: PacketPart = { header: TRANSPORT, offset: 2, size: 2 };

/** What differs between IPv4 and IPv6: the set, what it has, and where the addresses are in a packet. */
const FAMILIES = [
  { family: AF.INET, set: 'conns4', type: NFT_TYPE.IPV4, source: 12, destination: 16 },
  { family: AF.INET6, set: 'conns6', type: NFT_TYPE.IPV6, source: 8, destination: 24 },
] as const;

/** The two ends of a connection. */
export type LockedConnection = Pick<TcpConnection, 'local' | 'remote'>;

/** Adds a table to a batch that locks the connections. */
export function addLock(
  batch: NftBatch,
  table: string,
  traits: TableTraits,
  connections: readonly LockedConnection[],
): void {
  batch.addTable(table, traits);
  for (const { set, type } of FAMILIES) batch.addSet(table, set, [type, NFT_TYPE.PORT, type, NFT_TYPE.PORT]);
  for (const [chain, hook] of [['output', NF_INET.LOCAL_OUT] as const, ['input', NF_INET.LOCAL_IN] as const]) {
    batch.addChain(table, chain, hook);
    batch.addRule(table, chain, [...metaIs(NFT_META.MARK, u32Bytes(LOCK_MARK)), verdict(NF.ACCEPT)]);
    for (const { family, set, type, source, destination } of FAMILIES) {
      const parts = [
        { header: NETWORK, offset: source, size: type.size } as const,
        SOURCE_PORT,
        { header: NETWORK, offset: destination, size: type.size } as const,
        DESTINATION_PORT,
      ];
      batch.addRule(table, chain, [
        ...metaIs(NFT_META.NFPROTO, Uint8Array.of(family)), // NFPROTO_IPV4 and NFPROTO_IPV6 are the same numbers
        ...metaIs(NFT_META.L4PROTO, Uint8Array.of(IPPROTO.TCP)),
        ...isInSet(set, parts),
        verdict(NF.DROP),
      ]);
    }
  }
  addConnections(batch, table, connections);
}

/** Has a table that there is lock further connections. */
function addConnections(batch: NftBatch, table: string, connections: readonly LockedConnection[]): void {
  for (const { set, type } of FAMILIES) {
    const own = connections.filter(({ local }) => local.address.length === type.size);
    batch.addKeys(
      table,
      set,
      distinct(own.flatMap(({ local, remote }) => [keyOf(local, remote), keyOf(remote, local)])),
    );
  }
}

/** Both ends of a connection may be in the tree; then each direction is there twice. */
function distinct(keys: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(keys.map((key) => [key.join(), key])).values()];
}

/** Addresses and ports, each port padded to four bytes. */
function keyOf(from: InetEnd, to: InetEnd): Uint8Array {
  return Uint8Array.of(...from.address, ...from.port, 0, 0, ...to.address, ...to.port, 0, 0);
}

/** How much CRIU 4.2 keeps of a name: it has room for 31 characters, the word `inet` and a space among them. */
const NAME = 26;

/** The name of the table that a dump leaves, by its run ID; of images without one, by the PID of the root. */
export function lockTable(run: string | number): string {
  return `CRIU-${run}`.slice(0, NAME);
}

/**
 * A lock of connections for a moment, besides those of a dump or restore; it vanishes with the process. Stasis has one
 * such lock at a time in a network namespace.
 */
export class ShortLock implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
  readonly #name = `stasis-queue-${process.pid}-${namespaceOf('self', 'pid') ?? 0}`;

  /** Locks connections of the network namespace that we are in. @throws NetlinkError */
  constructor(connections: readonly LockedConnection[]) {
    try {
      const batch = new NftBatch();
      addLock(batch, this.#name, { flags: NFT_TABLE_F.OWNER }, connections);
      this.#socket.transact(batch.messages());
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Locks further connections. @throws NetlinkError */
  add(connections: readonly LockedConnection[]): void {
    const batch = new NftBatch();
    addConnections(batch, this.#name, connections);
    this.#socket.transact(batch.messages());
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
