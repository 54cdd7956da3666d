/** Options of IPv4 and IPv6 that sockets of all their protocols have. */
import type { LocalFd } from '../../../base/brands.ts';
import type { InputOf } from '../../../images/message.ts';
import type { IpOptsEntry, ipOptsEntry } from '../../../images/schema/sockets.ts';
import { IP, IPV6 } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO, SOCK } from '../../../kernel/constants/sockets.ts';
import { OptionBatch, type Usual } from '../../../kernel/option-batch.ts';
import { setNumber } from '../../../kernel/sockets.ts';

const KEPT_4 = new OptionBatch({
  freebind: [IPPROTO.IP, IP.FREEBIND],
  pktinfo: [IPPROTO.IP, IP.PKTINFO],
  tos: [IPPROTO.IP, IP.TOS],
  ttl: [IPPROTO.IP, IP.TTL],
});
const KEPT_6 = new OptionBatch({
  freebind: [IPPROTO.IPV6, IPV6.FREEBIND],
  pktinfo: [IPPROTO.IPV6, IPV6.RECVPKTINFO],
});

/**
 * Reads the options CRIU's images have a place for. Those that are zero are left out, as CRIU does, and those that the
 * protocol does not have (MPTCP).
 */
export function captureIpOptions(local: LocalFd, family: number): InputOf<typeof ipOptsEntry> {
  const read = family === AF.INET6 ? KEPT_6.read(local) : KEPT_4.read(local);
  const isOn = (key: 'freebind' | 'pktinfo'): object => (read.numberIfAny(key) === 1 ? { [key]: true } : {});
  const kept = { ...isOn('freebind'), ...isOn('pktinfo') };
  if (read === KEPT_6) return kept;
  const [tos, ttl] = [KEPT_4.numberIfAny('tos'), KEPT_4.numberIfAny('ttl')];
  return { ...kept, ...(tos ? { tos } : {}), ...(ttl ? { ttl } : {}) };
}

/** Sets the options that {@link captureIpOptions} reads. @throws SyscallError */
export function restoreIpOptions(local: LocalFd, family: number, options: IpOptsEntry): void {
  const is6 = family === AF.INET6;
  const level = is6 ? IPPROTO.IPV6 : IPPROTO.IP;
  if (options.freebind !== undefined) setNumber(local, is6 ? IPV6.FREEBIND : IP.FREEBIND, +options.freebind, level);
  if (options.pktinfo !== undefined) setNumber(local, is6 ? IPV6.RECVPKTINFO : IP.PKTINFO, +options.pktinfo, level);
  if (is6) return;
  if (options.tos !== undefined) setNumber(local, IP.TOS, options.tos, level);
  if (options.ttl !== undefined) setNumber(local, IP.TTL, options.ttl, level);
}

/** Name in the notes: number of the option and the value a new socket has. */
type Forgotten = Readonly<Record<string, readonly [name: number, usual: number]>>;

/** Options of IPv4 that CRIU's images have no place for. Sockets of IPv6 have them too, for mapped addresses. */
const FORGOTTEN_4: Forgotten = {
  recvOpts: [IP.RECVOPTS, 0],
  retOpts: [IP.RETOPTS, 0],
  mtuDiscover: [IP.MTU_DISCOVER, 1],
  recvErr: [IP.RECVERR, 0],
  recvTtl: [IP.RECVTTL, 0],
  recvTos: [IP.RECVTOS, 0],
  passSec: [IP.PASSSEC, 0],
  recvOrigDstAddr: [IP.RECVORIGDSTADDR, 0],
  minTtl: [IP.MINTTL, 0],
  checksum: [IP.CHECKSUM, 0],
  bindAddressNoPort: [IP.BIND_ADDRESS_NO_PORT, 0],
  recvFragSize: [IP.RECVFRAGSIZE, 0],
  recvErrRfc4884: [IP.RECVERR_RFC4884, 0],
  unicastIf: [IP.UNICAST_IF, 0],
  localPortRange: [IP.LOCAL_PORT_RANGE, 0],
};

/** The same of sockets of IPv6, and what only entries of family IPv4 have a place for. */
const MAPPED_4: Forgotten = {
  ...FORGOTTEN_4,
  tos: [IP.TOS, 0],
  ttl: [IP.TTL, 64],
  pktinfo: [IP.PKTINFO, 0],
};

/** Options of IPv6 that CRIU's images have no place for. */
const FORGOTTEN_6: Forgotten = {
  unicastHops6: [IPV6.UNICAST_HOPS, 64],
  mtuDiscover6: [IPV6.MTU_DISCOVER, 1],
  recvErr6: [IPV6.RECVERR, 0],
  recvErrRfc48846: [IPV6.RECVERR_RFC4884, 0],
  flowInfoSend6: [IPV6.FLOWINFO_SEND, 0],
  recvHopLimit6: [IPV6.RECVHOPLIMIT, 0],
  recvHopOpts6: [IPV6.RECVHOPOPTS, 0],
  recvRtHdr6: [IPV6.RECVRTHDR, 0],
  recvDstOpts6: [IPV6.RECVDSTOPTS, 0],
  recvPathMtu6: [IPV6.RECVPATHMTU, 0],
  dontFrag6: [IPV6.DONTFRAG, 0],
  recvTclass6: [IPV6.RECVTCLASS, 0],
  tclass6: [IPV6.TCLASS, 0],
  autoFlowLabel6: [IPV6.AUTOFLOWLABEL, 1],
  addrPreferences6: [IPV6.ADDR_PREFERENCES, 0x500],
  minHopCount6: [IPV6.MINHOPCOUNT, 0],
  recvOrigDstAddr6: [IPV6.RECVORIGDSTADDR, 0],
  unicastIf6: [IPV6.UNICAST_IF, 0],
  recvFragSize6: [IPV6.RECVFRAGSIZE, 0],
};

/** Options of multicast. Streams have none: the kernel uses their places for something else, and they cannot be set. */
const MULTICAST_4: Forgotten = {
  /** An address; of a device that was given by its index alone the kernel tells none. */
  multicastIf: [IP.MULTICAST_IF, 0],
  multicastTtl: [IP.MULTICAST_TTL, 1],
  multicastLoop: [IP.MULTICAST_LOOP, 1],
};
const MULTICAST_ALL_4: Forgotten = { multicastAll: [IP.MULTICAST_ALL, 1] };
/** Of sockets of IPv6 this is off. */
const MULTICAST_ALL_MAPPED: Forgotten = { multicastAll: [IP.MULTICAST_ALL, 0] };
const MULTICAST_6: Forgotten = {
  multicastIf6: [IPV6.MULTICAST_IF, 0],
  multicastHops6: [IPV6.MULTICAST_HOPS, 1],
  multicastLoop6: [IPV6.MULTICAST_LOOP, 1],
  multicastAll6: [IPV6.MULTICAST_ALL, 1],
};

/** Transparent sockets may be bound to addresses of others, so this is set before they are bound. */
const BEFORE_BIND_4: Forgotten = { transparent: [IP.TRANSPARENT, 0] };
const BEFORE_BIND_6: Forgotten = { transparent6: [IPV6.TRANSPARENT, 0] };

/** An option that applies to a socket: its name in the notes, level and number, and the value a new socket has. */
type Applying = readonly [key: string, level: number, name: number, usual: number];

/** When an option is set: before bind(2), which looks at it, or later. */
type When = 'before bind' | 'later';

const TABLES = new Map<string, readonly Applying[]>();

/** The options that apply to sockets of a family and a type. */
function tableOf(family: number, type: number, when: When): readonly Applying[] {
  const key = `${family} ${type} ${when}`;
  let table = TABLES.get(key);
  if (!table) {
    table = levelsOf(family, type, when).flatMap(([options, level]) =>
      Object.entries(options).map(([key, [name, usual]]): Applying => [key, level, name, usual]),
    );
    TABLES.set(key, table);
  }
  return table;
}

/** The options that apply, by their levels. Raw sockets of IPv6 have no options of IPv4. */
function levelsOf(family: number, type: number, when: When): [Forgotten, number][] {
  const is6 = family === AF.INET6;
  // IP_TRANSPARENT and IPV6_TRANSPARENT are the same flag.
  if (when === 'before bind') return is6 ? [[BEFORE_BIND_6, IPPROTO.IPV6]] : [[BEFORE_BIND_4, IPPROTO.IP]];
  const isStream = type === SOCK.STREAM;
  const four: Forgotten[] = is6 ? [MAPPED_4] : [FORGOTTEN_4];
  const six: Forgotten[] = [FORGOTTEN_6];
  if (!isStream) {
    four.push(MULTICAST_4, is6 ? MULTICAST_ALL_MAPPED : MULTICAST_ALL_4);
    six.push(MULTICAST_6);
  }
  return [
    ...(is6 && type === SOCK.RAW ? [] : four.map((table): [Forgotten, number] => [table, IPPROTO.IP])),
    ...(is6 ? six.map((table): [Forgotten, number] => [table, IPPROTO.IPV6]) : []),
  ];
}

/** All options that apply to sockets of a family and a type, as a batch, with the values a new socket has. */
interface Readable {
  readonly batch: OptionBatch;
  readonly usual: Usual;
}

const READABLE = new Map<string, Readable>();

function readableOf(family: number, type: number): Readable {
  const key = `${family} ${type}`;
  let readable = READABLE.get(key);
  if (!readable) {
    const all = [...tableOf(family, type, 'before bind'), ...tableOf(family, type, 'later')];
    readable = {
      batch: new OptionBatch(Object.fromEntries(all.map(([key, level, name]) => [key, [level, name]]))),
      usual: Object.fromEntries(all.map(([key, , name, usual]) => [key, [name, usual]])),
    };
    READABLE.set(key, readable);
  }
  return readable;
}

/** The options that differ from those of a new socket, by name; undefined if none does. */
export function captureForgottenIp(
  local: LocalFd,
  family: number,
  type: number,
): Readonly<Record<string, number>> | undefined {
  const { batch, usual } = readableOf(family, type);
  return batch.read(local).unusual(usual);
}

/** Sets the noted options, those that bind(2) looks at or all others. @throws SyscallError */
export function restoreForgottenIp(
  local: LocalFd,
  { family, type }: { readonly family: number; readonly type: number },
  noted: Readonly<Record<string, number>> | undefined,
  when: When,
): void {
  if (!noted) return;
  for (const [key, level, name] of tableOf(family, type, when)) {
    const value = noted[key];
    if (value !== undefined) setNumber(local, name, value, level);
  }
}
