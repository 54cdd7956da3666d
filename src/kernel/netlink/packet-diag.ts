/** The list of packet sockets from the kernel (include/uapi/linux/packet_diag.h, net/packet/diag.c). */
import { NETLINK, PACKET_DIAG, PACKET_SHOW, PDI, SOCK_DIAG_BY_FAMILY } from '../constants/netlink.ts';
import { AF } from '../constants/sockets.ts';
import {
  PacketDiagInfo as Info,
  PacketDiagMclist as Membership,
  PacketDiagMsg,
  PacketDiagReq,
  PacketDiagRing,
} from '../layouts/netlink.ts';
import { decodeAttributes } from './attributes.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';

const SHOW = PACKET_SHOW.INFO | PACKET_SHOW.MCLIST | PACKET_SHOW.RING_CFG | PACKET_SHOW.FANOUT;

/** A packet socket. */
export interface PacketSocket {
  /** SOCK_RAW, SOCK_DGRAM or SOCK_PACKET. */
  readonly type: number;
  /** The Ethernet protocol in host order; 0 for none. */
  readonly protocol: number;
  /** The index of the device it is bound to, 0 for all; 0xffffffff if that device is gone. */
  readonly device: number;
  /** TPACKET_V1, … */
  readonly version: number;
  readonly reserve: number;
  readonly copyThreshold: number;
  readonly timestamp: number;
  readonly auxData: boolean;
  readonly origDev: boolean;
  readonly vnetHeader: boolean;
  readonly loss: boolean;
  readonly memberships: readonly Membership[];
  readonly receiveRing: PacketDiagRing | undefined;
  readonly sendRing: PacketDiagRing | undefined;
  readonly hasFanout: boolean;
}

/** The packet sockets of our network namespace, by inode number. Undefined if the kernel cannot list them. */
export function packetSockets(): Map<number, PacketSocket> | undefined {
  const request = PacketDiagReq.encode({ family: AF.PACKET, show: SHOW });
  try {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'packet sockets');
    const list = netlink.list(SOCK_DIAG_BY_FAMILY, request);
    return new Map(list.map(({ payload }) => [PacketDiagMsg.decode(payload).ino, decodePacketSocket(payload)]));
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}

function decodePacketSocket(payload: Uint8Array): PacketSocket {
  const { type, protocol } = PacketDiagMsg.decode(payload);
  const attributes = decodeAttributes(payload.subarray(PacketDiagMsg.size));
  const info = Info.decode(attributes.get(PACKET_DIAG.INFO) ?? new Uint8Array(Info.size));
  const ring = (which: number): PacketDiagRing | undefined => {
    const value = attributes.get(which);
    return value && PacketDiagRing.decode(value);
  };
  const members = attributes.get(PACKET_DIAG.MCLIST) ?? new Uint8Array();
  const count = Math.floor(members.length / Membership.size);
  return {
    type,
    protocol,
    device: info.device,
    version: info.version,
    reserve: info.reserve,
    copyThreshold: info.copyThreshold,
    timestamp: info.timestamp,
    auxData: (info.flags & PDI.AUXDATA) !== 0,
    origDev: (info.flags & PDI.ORIGDEV) !== 0,
    vnetHeader: (info.flags & PDI.VNETHDR) !== 0,
    loss: (info.flags & PDI.LOSS) !== 0,
    memberships: Array.from({ length: count }, (_, i) => Membership.decode(members, i * Membership.size)),
    receiveRing: ring(PACKET_DIAG.RX_RING),
    sendRing: ring(PACKET_DIAG.TX_RING),
    hasFanout: attributes.has(PACKET_DIAG.FANOUT),
  };
}
