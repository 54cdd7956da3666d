/**
 * Segments of TCP with their IP headers (RFC 9293, RFC 791, RFC 8200): what the other end of a restored connection had
 * sent, to be sent again through a raw socket. Pure.
 */
import { TCPOPT } from '../kernel/constants/inet.ts';
import { IPPROTO } from '../kernel/constants/sockets.ts';
import { checksumOf } from '../kernel/layouts/ip-packet.ts';

/** Flags of a segment. */
export const SEGMENT = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10, ECE: 0x40, CWR: 0x80 } as const;

/** Where a segment comes from and goes to. Addresses have 4 or 16 bytes, in network order. */
export interface SegmentEnds {
  readonly from: Uint8Array;
  readonly fromPort: number;
  readonly to: Uint8Array;
  readonly toPort: number;
}

/** What a segment says. */
export interface Play {
  readonly sequence: number;
  readonly acknowledged: number;
  readonly flags: number;
  /** The field of the header, 0 if it is not given: a window is shifted by the scale of whoever sends it. */
  readonly window?: number;
  /** Whole words. */
  readonly options?: Uint8Array;
  readonly bytes?: Uint8Array;
}

export interface Segment extends SegmentEnds, Play {}

const TCP_HEADER = 20;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** The most there can be: a socket may refuse packets that have come a long way (IP_MINTTL). */
const HOPS = 255;
const NOTHING = new Uint8Array();

/** The packet that carries a segment. The kernel fills in the checksum of an IPv4 header. */
export function packetOf(segment: Segment): Uint8Array {
  const { from, to, window = 0, options = NOTHING, bytes = NOTHING } = segment;
  const isInet = from.length === 4;
  const start = isInet ? IPV4_HEADER : IPV6_HEADER;
  const header = TCP_HEADER + options.length;
  const packet = new Uint8Array(start + header + bytes.length);
  const view = new DataView(packet.buffer);
  if (isInet) {
    view.setUint8(0, 0x45); // version, and a header of 5 words
    view.setUint16(2, packet.length);
    view.setUint8(8, HOPS);
    view.setUint8(9, IPPROTO.TCP);
    packet.set(from, 12);
    packet.set(to, 16);
  } else {
    view.setUint8(0, 0x60);
    view.setUint16(4, header + bytes.length);
    view.setUint8(6, IPPROTO.TCP);
    view.setUint8(7, HOPS);
    packet.set(from, 8);
    packet.set(to, 24);
  }
  view.setUint16(start, segment.fromPort);
  view.setUint16(start + 2, segment.toPort);
  view.setUint32(start + 4, segment.sequence >>> 0);
  view.setUint32(start + 8, segment.acknowledged >>> 0);
  view.setUint8(start + 12, (header / 4) << 4);
  view.setUint8(start + 13, segment.flags);
  view.setUint16(start + 14, window);
  packet.set(options, start + TCP_HEADER);
  packet.set(bytes, start + header);
  view.setUint16(start + 16, checksumOf(IPPROTO.TCP, from, to, packet.subarray(start)));
  return packet;
}

/** What both ends of a connection have agreed on, as the options of a SYN say it. */
export interface Agreed {
  /** The most bytes of a segment to whoever sends the SYN. */
  readonly mss: number;
  /** What the windows of whoever sends the SYN are shifted by; undefined if neither end shifts. */
  readonly scale: number | undefined;
  readonly sack: boolean;
  readonly timestamps: boolean;
}

/** Padding between options. */
const NOP = 1;

/**
 * The options of a SYN (RFC 9293, 7323, 2018). Its timestamp is 0, which the kernel takes for none: of what comes later
 * nothing is too old then (`tcp_paws_check()` in include/net/tcp.h).
 */
export function synOptions({ mss, scale, sack, timestamps }: Agreed): Uint8Array {
  return Uint8Array.of(
    ...[TCPOPT.MSS, 4, mss >> 8, mss & 0xff],
    ...(sack ? [NOP, NOP, TCPOPT.SACK_PERM, 2] : []),
    ...(timestamps ? [NOP, NOP, TCPOPT.TIMESTAMP, 10, 0, 0, 0, 0, 0, 0, 0, 0] : []),
    ...(scale === undefined ? [] : [NOP, TCPOPT.WINDOW, 3, scale]),
  );
}
