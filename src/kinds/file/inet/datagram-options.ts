/** Options of UDP, UDPLite and raw sockets. Those of UDP have no place in CRIU's images and go to the note. */
import type { InputOf } from '../../../images/message.ts';
import type { ipOptsEntry } from '../../../images/schema/sockets.ts';
import { ICMP_FILTER, IP, IPV6, UDP } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO } from '../../../kernel/constants/sockets.ts';
import { getNumberIfAny, getOptionIfAny, setNumber, setNumberIfAllowed, setOption } from '../../../kernel/sockets.ts';
import { captureIpOptions } from './ip-options.ts';
import type { InetSocket, MadeSocket } from './protocol.ts';

/** Options of UDP: name in the notes, and number. All are zero in a new socket. */
const OF_UDP = {
  encapsulation: UDP.ENCAP,
  noCheck6Send: UDP.NO_CHECK6_TX,
  noCheck6Receive: UDP.NO_CHECK6_RX,
  segment: UDP.SEGMENT,
  receiveOffload: UDP.GRO,
  sendCoverage: UDP.SEND_CSCOV,
  receiveCoverage: UDP.RECV_CSCOV,
  cork: UDP.CORK,
} as const;

/** The options of UDP that are set; undefined if none is. */
export function captureUdpOptions({ local, protocol }: InetSocket): Record<string, number> | undefined {
  let found: Record<string, number> | undefined;
  for (const [key, name] of Object.entries(OF_UDP)) {
    const value = getNumberIfAny(local, name, protocol);
    if (value) found = { ...found, [key]: value };
  }
  return found;
}

/** Sets what {@link captureUdpOptions} found. What this kernel does not know or allow is told. @throws SyscallError */
export function restoreUdpOptions({ entry, note, local, context }: MadeSocket): void {
  for (const [key, name] of Object.entries(OF_UDP)) {
    const value = note.protocol?.[key];
    if (value === undefined) continue;
    if (setNumberIfAllowed(local, name, value, entry.proto)) continue;
    const reason = `this kernel does not allow its option ${key} = ${value}`;
    context.notice({ resource: `socket:[${entry.ino}]`, reason });
  }
}

/** `struct icmp_filter`, and `struct icmp6_filter`, in bytes. */
const FILTER = { inet: 4, inet6: 32 } as const;

/** What CRIU's images have a place for, and the offset of the checksum, which is -1 in a new socket. */
export function captureRawOptions({ local, family, protocol }: InetSocket): {
  ip_opts: InputOf<typeof ipOptsEntry>;
  options: Record<string, number> | undefined;
} {
  const is6 = family === AF.INET6;
  const level = is6 ? IPPROTO.IPV6 : IPPROTO.IP;
  const filter = filterOf(protocol, family);
  const words = filter && getOptionIfAny(local, ICMP_FILTER, filter.size, filter.level);
  const offset = is6 && protocol !== IPPROTO.ICMPV6 ? getNumberIfAny(local, IPV6.CHECKSUM, level) : undefined;
  const raw = {
    ...(getNumberIfAny(local, is6 ? IPV6.HDRINCL : IP.HDRINCL, level) ? { hdrincl: true } : {}),
    ...(!is6 && getNumberIfAny(local, IP.NODEFRAG, level) ? { nodefrag: true } : {}),
    ...(words ? { icmpv_filter: [...new Uint32Array(words.buffer)] } : {}),
  };
  return {
    ip_opts: { ...captureIpOptions(local, family), raw },
    options: offset === undefined || offset < 0 ? undefined : { checksumOffset: offset },
  };
}

/** Sets what {@link captureRawOptions} found. @throws SyscallError */
export function restoreRawOptions({ entry, note, local }: MadeSocket): void {
  const { family, proto } = entry;
  const is6 = family === AF.INET6;
  const level = is6 ? IPPROTO.IPV6 : IPPROTO.IP;
  const { hdrincl, nodefrag, icmpv_filter = [] } = entry.ip_opts?.raw ?? {};
  // Sockets of IPPROTO_RAW have it from the beginning.
  if (hdrincl !== undefined || proto === IPPROTO.RAW) {
    setNumber(local, is6 ? IPV6.HDRINCL : IP.HDRINCL, +(hdrincl ?? false), level);
  }
  if (!is6 && nodefrag) setNumber(local, IP.NODEFRAG, 1, level);
  const filter = filterOf(proto, family);
  if (filter && icmpv_filter.length * 4 === filter.size) {
    setOption(local, ICMP_FILTER, new Uint8Array(new Uint32Array(icmpv_filter).buffer), filter.level);
  }
  const offset = note.protocol?.checksumOffset;
  if (is6 && offset !== undefined) setNumber(local, IPV6.CHECKSUM, offset, level);
}

function filterOf(protocol: number, family: number): { size: number; level: number } | undefined {
  if (family === AF.INET6) {
    return protocol === IPPROTO.ICMPV6 ? { size: FILTER.inet6, level: IPPROTO.ICMPV6 } : undefined;
  }
  return protocol === IPPROTO.ICMP ? { size: FILTER.inet, level: IPPROTO.RAW } : undefined;
}
