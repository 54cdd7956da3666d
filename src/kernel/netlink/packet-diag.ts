/** The list of packet sockets from the kernel (include/uapi/linux/packet_diag.h, net/packet/diag.c). */
import { AF, NETLINK } from '../constants/sockets.ts';
import { array, bytes, struct, u8, u16, u32, type ValueOf } from '../layouts/struct.ts';
import { decodeAttributes } from './attributes.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';
import { SOCK_DIAG_BY_FAMILY } from './unix-diag.ts';

/** PACKET_SHOW_INFO, MCLIST, RING_CFG, FANOUT. */
const SHOW = 0xf;
const ATTRIBUTE = { INFO: 0, MCLIST: 1, RX_RING: 2, TX_RING: 3, FANOUT: 4 } as const;

const Request = struct({ family: u8, protocol: u8, pad: u16, ino: u32, show: u32, cookie: array(u32, 2) });
const Answer = struct({ family: u8, type: u8, protocol: u16, ino: u32, cookie: array(u32, 2) });

const Info = struct({ device: u32, version: u32, reserve: u32, copyThreshold: u32, timestamp: u32, flags: u32 });
const FLAG = { AUXDATA: 2, ORIGDEV: 4, VNETHDR: 8, LOSS: 16 } as const;

const Membership = struct({ device: u32, count: u32, type: u16, length: u16, address: bytes(32) });

const Ring = struct({
  blockSize: u32,
  blocks: u32,
  frameSize: u32,
  frames: u32,
  retireTimeout: u32,
  privateSize: u32,
  features: u32,
});
export type PacketRingFacts = ValueOf<typeof Ring>;

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
  readonly memberships: readonly ValueOf<typeof Membership>[];
  readonly receiveRing: PacketRingFacts | undefined;
  readonly sendRing: PacketRingFacts | undefined;
  readonly hasFanout: boolean;
}

/** The packet sockets of our network namespace, by inode number. Undefined if the kernel cannot list them. */
export function packetSockets(): Map<number, PacketSocket> | undefined {
  const request = Request.encode({ family: AF.PACKET, show: SHOW });
  try {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'packet sockets');
    const list = netlink.list(SOCK_DIAG_BY_FAMILY, request);
    return new Map(list.map(({ payload }) => [Answer.decode(payload).ino, decodePacketSocket(payload)]));
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}

function decodePacketSocket(payload: Uint8Array): PacketSocket {
  const { type, protocol } = Answer.decode(payload);
  const attributes = decodeAttributes(payload.subarray(Answer.size));
  const info = Info.decode(attributes.get(ATTRIBUTE.INFO) ?? new Uint8Array(Info.size));
  const ring = (which: number): PacketRingFacts | undefined => {
    const value = attributes.get(which);
    return value && Ring.decode(value);
  };
  const members = attributes.get(ATTRIBUTE.MCLIST) ?? new Uint8Array();
  const count = Math.floor(members.length / Membership.size);
  return {
    type,
    protocol,
    device: info.device,
    version: info.version,
    reserve: info.reserve,
    copyThreshold: info.copyThreshold,
    timestamp: info.timestamp,
    auxData: (info.flags & FLAG.AUXDATA) !== 0,
    origDev: (info.flags & FLAG.ORIGDEV) !== 0,
    vnetHeader: (info.flags & FLAG.VNETHDR) !== 0,
    loss: (info.flags & FLAG.LOSS) !== 0,
    memberships: Array.from({ length: count }, (_, i) => Membership.decode(members, i * Membership.size)),
    receiveRing: ring(ATTRIBUTE.RX_RING),
    sendRing: ring(ATTRIBUTE.TX_RING),
    hasFanout: attributes.has(ATTRIBUTE.FANOUT),
  };
}
