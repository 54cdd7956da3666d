/**
 * Packets of UDP and UDPLite over IPv4 and IPv6 (RFC 768, 791, 3828, 8200), as raw sockets with IP_HDRINCL or
 * IPV6_HDRINCL send them. Pure.
 */
import { IPPROTO } from '../constants/sockets.ts';

/** One end: an address of 4 or 16 bytes, and a port. */
export interface PacketEnd {
  readonly address: Uint8Array;
  readonly port: number;
}

/** A packet to be made. Both ends are of one family. */
export interface Datagram {
  /** IPPROTO_UDP or UDPLITE. */
  readonly protocol: number;
  readonly source: PacketEnd;
  readonly destination: PacketEnd;
  readonly ttl: number;
  /** Type of service, or traffic class. */
  readonly tos: number;
  readonly bytes: Uint8Array;
}

const HEADER_4 = 20;
const HEADER_6 = 40;
const UDP_HEADER = 8;
/** Largest length of a datagram with its header, or of a packet of IPv4. */
const LARGEST = 0xffff;

/** The bytes of a packet; undefined if the datagram is too long for one. */
export function encodeDatagram(datagram: Datagram): Uint8Array | undefined {
  const is4 = datagram.source.address.length === 4;
  const start = is4 ? HEADER_4 : HEADER_6;
  const length = UDP_HEADER + datagram.bytes.length;
  if ((is4 ? start : 0) + length > LARGEST) return undefined;
  const packet = new Uint8Array(start + length);
  const view = new DataView(packet.buffer);
  if (is4) encodeHeader4(view, packet, datagram);
  else encodeHeader6(view, packet, datagram);
  view.setUint16(start, datagram.source.port);
  view.setUint16(start + 2, datagram.destination.port);
  // UDPLite: the length that the checksum covers, where 0 means all.
  view.setUint16(start + 4, datagram.protocol === IPPROTO.UDP ? length : 0);
  packet.set(datagram.bytes, start + UDP_HEADER);
  const { protocol, source, destination } = datagram;
  // In UDP 0 means that there is no checksum.
  view.setUint16(
    start + 6,
    checksumOf(protocol, source.address, destination.address, packet.subarray(start)) || LARGEST,
  );
  return packet;
}

/** `struct iphdr`. The kernel fills in the identification and the checksum. */
function encodeHeader4(
  view: DataView,
  packet: Uint8Array,
  { protocol, source, destination, ttl, tos }: Datagram,
): void {
  packet[0] = 0x45;
  packet[1] = tos;
  view.setUint16(2, packet.length);
  packet[8] = ttl;
  packet[9] = protocol;
  packet.set(source.address, 12);
  packet.set(destination.address, 16);
}

/** `struct ipv6hdr`. */
function encodeHeader6(
  view: DataView,
  packet: Uint8Array,
  { protocol, source, destination, ttl, tos }: Datagram,
): void {
  view.setUint32(0, (6 << 28) | (tos << 20));
  view.setUint16(4, packet.length - HEADER_6);
  packet[6] = protocol;
  packet[7] = ttl;
  packet.set(source.address, 8);
  packet.set(destination.address, 24);
}

/** The checksum of a transport protocol: of the bytes, whose own field for it is still 0, and a pseudo header. */
export function checksumOf(protocol: number, from: Uint8Array, to: Uint8Array, bytes: Uint8Array): number {
  return checksum(bytes, sumOf(from) + sumOf(to) + protocol + bytes.length);
}

/** The sum of big-endian words of 16 bits; a last odd byte is the upper half of one. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return sum;
}

/** The Internet checksum (RFC 1071) of `bytes` and what `start` is the sum of. */
export function checksum(bytes: Uint8Array, start = 0): number {
  let sum = start + sumOf(bytes);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
