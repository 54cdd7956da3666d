/**
 * Segments of TCP without data, with their IP headers (RFC 9293, RFC 791, RFC 8200): what the other end of a restored
 * connection had sent, to be sent again through a raw socket. Pure.
 */

import { IPPROTO } from '../kernel/constants/sockets.ts';
import { checksumOf } from '../kernel/layouts/ip-packet.ts';

/** Flags of a segment. */
export const SEGMENT = { FIN: 0x01, RST: 0x04, ACK: 0x10 } as const;

/** A segment. Addresses have 4 or 16 bytes, in network order. */
export interface Segment {
  readonly from: Uint8Array;
  readonly fromPort: number;
  readonly to: Uint8Array;
  readonly toPort: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly flags: number;
}

const TCP_HEADER = 20;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const HOPS = 64;

/** The packet that carries a segment. Its window is closed. The kernel fills in the checksum of an IPv4 header. */
export function packetOf(segment: Segment): Uint8Array {
  const { from, to } = segment;
  const isInet = from.length === 4;
  const start = isInet ? IPV4_HEADER : IPV6_HEADER;
  const packet = new Uint8Array(start + TCP_HEADER);
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
    view.setUint16(4, TCP_HEADER);
    view.setUint8(6, IPPROTO.TCP);
    view.setUint8(7, HOPS);
    packet.set(from, 8);
    packet.set(to, 24);
  }
  view.setUint16(start, segment.fromPort);
  view.setUint16(start + 2, segment.toPort);
  view.setUint32(start + 4, segment.sequence >>> 0);
  view.setUint32(start + 8, segment.acknowledged >>> 0);
  view.setUint8(start + 12, (TCP_HEADER / 4) << 4);
  view.setUint8(start + 13, segment.flags);
  view.setUint16(start + 16, checksumOf(IPPROTO.TCP, from, to, packet.subarray(start)));
  return packet;
}
