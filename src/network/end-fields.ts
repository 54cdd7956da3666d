/**
 * Addresses of IP sockets: the fields of an image's entry, and `struct sockaddr_in` and `sockaddr_in6`. An entry has
 * the port in host order, and the address as words of 32 bits whose bytes in memory are in network order. Pure.
 */
import { ImageError } from '../images/error.ts';
import type { InetSkEntry } from '../images/schema/sockets.ts';
import { AF } from '../kernel/constants/sockets.ts';
import type { InetEnd } from '../kernel/netlink/inet-diag.ts';
import { decodeSocketAddress, showSocketAddress } from '../kernel/socket-address.ts';
import { mappedOf } from './inet-address.ts';

/** Sizes of `struct sockaddr_in` and `sockaddr_in6`. */
const SIZE = { inet: 16, inet6: 28 } as const;
/** Offset of the address. */
const AT = { inet: 4, inet6: 8 } as const;
const PORT = 2;
/** Offset of `sin6_scope_id`. */
const SCOPE = 24;

/** The size of the `struct sockaddr` of a family, in bytes. */
export function sockaddrSize(family: number): number {
  return family === AF.INET ? SIZE.inet : SIZE.inet6;
}

/** An address and a port, as an entry has them: for one end of a socket. */
export interface EndFields {
  readonly port: number;
  readonly words: readonly number[];
}

/** Which end of a socket. */
export type End = 'source' | 'destination';

/** The fields for a `struct sockaddr`; zeros for none. */
export function endOf(family: number, address: Uint8Array | undefined): EndFields {
  const count = family === AF.INET ? 1 : 4;
  const words = new Array<number>(count).fill(0);
  const isOfFamily = address && address.length >= 8 && (address[0] ?? 0) === family;
  if (!isOfFamily) return { port: 0, words };
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  const start = family === AF.INET ? AT.inet : AT.inet6;
  return { port: view.getUint16(PORT), words: words.map((_, i) => view.getUint32(start + 4 * i, true)) };
}

/** The fields of one end of an entry. @throws ImageError for an address that is no address of the family */
export function fieldsOf(entry: InetSkEntry, end: End): EndFields {
  const [port, words] = end === 'source' ? [entry.src_port, entry.src_addr] : [entry.dst_port, entry.dst_addr];
  // CRIU 0.1 wrote four words for IPv4.
  const isFit = entry.family === AF.INET ? words.length >= 1 : words.length === 4;
  if (isFit && port <= 0xffff) return { port, words };
  const reason = `socket:[${entry.ino}]: its ${end} is no address of family ${entry.family}`;
  throw new ImageError({ file: 'files.img', reason });
}

/** The `struct sockaddr` for the fields; `device` is the index of the device a link-local address belongs to. */
export function sockaddrOf(family: number, { port, words }: EndFields, device = 0): Uint8Array {
  const isInet = family === AF.INET;
  const out = new Uint8Array(sockaddrSize(family));
  const view = new DataView(out.buffer);
  view.setUint16(0, family, true);
  view.setUint16(PORT, port);
  const start = isInet ? AT.inet : AT.inet6;
  for (let i = 0; i < (isInet ? 1 : 4); i++) view.setUint32(start + 4 * i, words[i] ?? 0, true);
  if (!isInet) view.setUint32(SCOPE, device, true);
  return out;
}

/** An end as it is in packets: of IPv4 also where the socket is one of IPv6. */
export function packetEndOf(family: number, { port, words }: EndFields): InetEnd {
  const bytes = new Uint8Array(new Uint32Array(words.slice(0, family === AF.INET ? 1 : 4)).buffer);
  return { address: mappedOf(bytes) ?? bytes, port: Uint8Array.of(port >> 8, port & 0xff) };
}

/** The `struct sockaddr` of an end that is in packets; `device` as in {@link sockaddrOf}. */
export function sockaddrOfEnd({ address, port: [high = 0, low = 0] }: InetEnd, device = 0): Uint8Array {
  const family = address.length === 4 ? AF.INET : AF.INET6;
  const words = [...new Uint32Array(address.slice().buffer)];
  return sockaddrOf(family, { port: (high << 8) | low, words }, device);
}

/** How people write it: `127.0.0.1:80`, `[::1]:80`. */
export function showEnd(family: number, fields: EndFields): string {
  const address = decodeSocketAddress(sockaddrOf(family, fields));
  return address ? showSocketAddress(address) : '?';
}

/** Whether an address is all zeros: any. */
export function isAny({ words }: EndFields): boolean {
  return words.every((word) => word === 0);
}

/** Whether an address of IPv6 means a device as well: one that is link-local, or multicast of node or link. */
export function needsDevice(family: number, { words }: EndFields): boolean {
  if (family !== AF.INET6) return false;
  const first = (words[0] ?? 0) & 0xff;
  const second = ((words[0] ?? 0) >>> 8) & 0xff;
  if (first === 0xff) return [1, 2].includes(second & 0xf);
  return first === 0xfe && (second & 0xc0) === 0x80;
}

/** As {@link showEnd}, of an end that is in packets. */
export function showPacketEnd(end: InetEnd): string {
  const address = decodeSocketAddress(sockaddrOfEnd(end));
  return address ? showSocketAddress(address) : '?';
}
