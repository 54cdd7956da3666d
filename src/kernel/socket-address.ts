/**
 * Addresses of sockets (`struct sockaddr` of each family), as getsockname(2) and getpeername(2) give them. Pure.
 *
 *     decodeSocketAddress(bytes)                 // { family: 'inet', address: '127.0.0.1', port: 80 }
 *     showSocketAddress(address)                 // '127.0.0.1:80'
 */
import { AF } from './constants/sockets.ts';

/** Where a socket is bound, or what it is connected to. */
export type SocketAddress =
  | { readonly family: 'inet' | 'inet6'; readonly address: string; readonly port: number }
  /** The path as it was bound, perhaps relative; that of an abstract name begins with `@`. */
  | { readonly family: 'unix'; readonly path: string }
  /** The port id, a process's PID as a rule, and the mask of multicast groups. */
  | { readonly family: 'netlink'; readonly portId: number; readonly groups: number }
  /** The index of a network device, 0 for all, and an Ethernet protocol number. */
  | { readonly family: 'packet'; readonly device: number; readonly protocol: number }
  | { readonly family: 'vsock'; readonly cid: number; readonly port: number };

/** Bytes before the path in `struct sockaddr_un`: its family. */
const UNIX_PATH = 2;
/**
 * Sizes of the structs (include/uapi/linux/in.h, in6.h, netlink.h, if_packet.h, vm_sockets.h), as far as they are read.
 */
const SIZE = { [AF.INET]: 8, [AF.INET6]: 24, [AF.NETLINK]: 12, [AF.PACKET]: 8, [AF.VSOCK]: 12 } as const;

/** Reads an address; undefined for none (a socket without a name), a family that is not known, or bytes cut off. */
export function decodeSocketAddress(bytes: Uint8Array): SocketAddress | undefined {
  if (bytes.length <= 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.getUint16(0, true);
  if (bytes.length < (SIZE[family as keyof typeof SIZE] ?? 0)) return undefined;
  switch (family) {
    case AF.INET:
      return { family: 'inet', address: bytes.subarray(4, 8).join('.'), port: view.getUint16(2) };
    case AF.INET6:
      return { family: 'inet6', address: showInet6(bytes.subarray(8, 24)), port: view.getUint16(2) };
    case AF.UNIX:
      return { family: 'unix', path: showUnixName(bytes.subarray(UNIX_PATH)) };
    case AF.NETLINK:
      return { family: 'netlink', portId: view.getUint32(4, true), groups: view.getUint32(8, true) };
    case AF.PACKET:
      return { family: 'packet', device: view.getInt32(4, true), protocol: view.getUint16(2) };
    case AF.VSOCK:
      return { family: 'vsock', cid: view.getUint32(8, true), port: view.getUint32(4, true) };
    default:
      return undefined;
  }
}

/** An address as people write it: `127.0.0.1:80`, `[::1]:80`, `/run/x.sock`, `@abstract`. */
export function showSocketAddress(address: SocketAddress): string {
  switch (address.family) {
    case 'inet':
      return `${address.address}:${address.port}`;
    case 'inet6':
      return `[${address.address}]:${address.port}`;
    case 'unix':
      return address.path;
    case 'netlink':
      return `port ${address.portId}${address.groups === 0 ? '' : `, groups 0x${address.groups.toString(16)}`}`;
    case 'packet': {
      const device = address.device === 0 ? 'all network devices' : `network device ${address.device}`;
      return `${device}, protocol 0x${address.protocol.toString(16).padStart(4, '0')}`;
    }
    case 'vsock':
      return `cid ${address.cid}, port ${address.port}`;
  }
}

/** A name of a unix socket as people write it: a path, or `@` and an abstract name. */
export function showUnixName(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1').replace(/\0+$/, '').replaceAll('\0', '@');
}

/** An address of IPv6 in its canonical form (RFC 5952): the longest run of zero groups left out, IPv4 in dots. */
function showInet6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return `::ffff:${bytes.subarray(12).join('.')}`;
  const { start, length } = longestZeros(groups);
  const show = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return show(groups);
  return `${show(groups.slice(0, start))}::${show(groups.slice(start + length))}`;
}

/** The longest run of zeros, the first of several. */
function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
