/**
 * Network devices in images: `netdev-N.img` as CRIU has it, and beside it what that has no place for, in Stasis' own
 * file (own-file.ts). Pure.
 */
import type { InputOf } from '../../images/message.ts';
import { NdType, type NetDeviceEntry, type netDeviceEntry, type SitEntry } from '../../images/schema/network.ts';
import { ARPHRD, IFLA, IFLA_MACVLAN } from '../../kernel/constants/rtnetlink.ts';
import type { Attributes } from '../../kernel/netlink/attributes.ts';
import { decodeAttributes, encodeAttributes, u32Bytes, u32sOf } from '../../kernel/netlink/attributes.ts';
import { u32Of } from '../../kernel/netlink/rtnetlink.ts';
import { LINK_KINDS, settableData } from './link-kinds.ts';
import type { Link } from './links.ts';

/** The draft of an entry, without the sysctls. */
export type LinkDraft = Omit<InputOf<typeof netDeviceEntry>, 'conf4' | 'conf6'>;

/**
 * The entry of a device. `here` is the ID of its namespace in the images, `idOf` gives those of other namespaces by the
 * IDs this namespace knows them by; undefined for one that is not in the tree.
 */
export function entryOfLink(link: Link, here: number, idOf: (nsid: number) => number | undefined): LinkDraft {
  const peer = link.lowerNsid === undefined || link.lowerNsid < 0 ? here : idOf(link.lowerNsid);
  const kind = link.kind === undefined ? undefined : LINK_KINDS.get(link.kind);
  return {
    type: link.type === ARPHRD.LOOPBACK ? NdType.LOOPBACK : (kind?.type ?? NdType.EXTLINK),
    ifindex: link.index,
    mtu: link.mtu,
    flags: link.flags,
    name: link.name,
    address: link.type === ARPHRD.LOOPBACK ? undefined : link.address,
    peer_ifindex: link.lower ?? link.index,
    peer_nsid: peer,
    master: link.master,
    ...(link.kind === 'macvlan' ? { macvlan: macvlanOf(link.data) } : {}),
    ...(link.kind === 'sit' ? { sit: sitOf(link.data) } : {}),
  };
}

const NONE: Uint8Array = new Uint8Array();

function macvlanOf(data = NONE): { mode: number; flags?: number } {
  const attributes = decodeAttributes(data);
  const flags = attributes.get(IFLA_MACVLAN.FLAGS);
  return { mode: u32Of(attributes.get(IFLA_MACVLAN.MODE)) ?? 0, ...(flags ? { flags: u16Of(flags) } : {}) };
}

function u16Of(value: Uint8Array): number {
  return (value[0] ?? 0) | ((value[1] ?? 0) << 8);
}

/** IFLA_IPTUN_* with the size of each, as the fields of CRIU's entry; lists of them are addresses. */
const SIT_NUMBERS = [
  { type: 1, size: 4, field: 'link' },
  { type: 4, size: 1, field: 'ttl' },
  { type: 5, size: 1, field: 'tos' },
  { type: 9, size: 1, field: 'proto' },
  { type: 8, size: 2, field: 'flags' },
  { type: 15, size: 2, field: 'encap_type' },
  { type: 16, size: 2, field: 'encap_flags' },
  { type: 17, size: 2, field: 'encap_sport' },
  { type: 18, size: 2, field: 'encap_dport' },
  { type: 13, size: 2, field: 'rd_prefixlen' },
  { type: 14, size: 2, field: 'relay_prefixlen' },
] as const;
const SIT_ADDRESSES = [
  { type: 2, field: 'local' },
  { type: 3, field: 'remote' },
  { type: 11, field: 'rd_prefix' },
  { type: 12, field: 'relay_prefix' },
] as const;
const SIT_PMTUDISC = 10;

function sitOf(data = NONE): InputOf<typeof netDeviceEntry>['sit'] {
  const attributes = decodeAttributes(data);
  const numbers = SIT_NUMBERS.flatMap(({ type, field }) => {
    const value = attributes.get(type);
    if (!value) return [];
    const number = littleEndian(value);
    // A prefix of no length is none; CRIU tells it by the absence of the field.
    return field.endsWith('prefixlen') && number === 0 ? [] : [[field, number] as const];
  });
  const has = new Set<string>(numbers.map(([field]) => field));
  const addresses = SIT_ADDRESSES.flatMap(({ type, field }): [string, number[]][] => {
    const words = u32sOf(attributes.get(type) ?? NONE);
    const isPrefix = field === 'rd_prefix' || field === 'relay_prefix';
    const isThere = isPrefix ? has.has(`${field}len`) : words.some((word) => word !== 0);
    return isThere ? [[field, words]] : [];
  });
  const [pmtudisc = 0] = attributes.get(SIT_PMTUDISC) ?? [];
  return { ...Object.fromEntries([...numbers, ...addresses]), ...(pmtudisc ? { pmtudisc: true } : {}) };
}

function littleEndian(value: Uint8Array): number {
  return value.reduceRight((sum, byte) => sum * 256 + byte, 0);
}

function bytesOf(value: number, size: number): Uint8Array {
  return u32Bytes(value).subarray(0, size);
}

/** The data of a device that CRIU's entry tells of. */
export function dataOfEntry(entry: NetDeviceEntry): Uint8Array {
  const { macvlan, sit } = entry;
  if (sit) return sitData(sit);
  if (!macvlan) return NONE;
  const flags: Attributes = macvlan.flags === undefined ? [] : [[IFLA_MACVLAN.FLAGS, bytesOf(macvlan.flags, 2)]];
  return encodeAttributes([[IFLA_MACVLAN.MODE, u32Bytes(macvlan.mode)], ...flags]);
}

function sitData(sit: SitEntry): Uint8Array {
  const numbers: Attributes = SIT_NUMBERS.flatMap(({ type, size, field }) => {
    const value = sit[field];
    return value === undefined ? [] : [[type, bytesOf(value, size)] as const];
  });
  const addresses: Attributes = SIT_ADDRESSES.flatMap(({ type, field }) => {
    return sit[field].length === 0 ? [] : [[type, new Uint8Array(new Uint32Array(sit[field]).buffer)] as const];
  });
  return encodeAttributes([
    ...numbers,
    ...addresses,
    ...(sit.pmtudisc ? [[SIT_PMTUDISC, bytesOf(1, 1)] as const] : []),
  ]);
}

/** Attributes that devices of any kind have and that CRIU's entry has no place for. */
const COMMON = [
  ...[IFLA.BROADCAST, IFLA.TXQLEN, IFLA.LINKMODE, IFLA.IFALIAS, IFLA.GROUP, IFLA.NUM_TX_QUEUES, IFLA.NUM_RX_QUEUES],
  ...[IFLA.GSO_MAX_SEGS, IFLA.GSO_MAX_SIZE, IFLA.GRO_MAX_SIZE, IFLA.GSO_IPV4_MAX_SIZE, IFLA.GRO_IPV4_MAX_SIZE],
];

/** Those of {@link COMMON} that a device has, for Stasis' own file. */
export function commonAttributes({ attributes, type }: Link): Uint8Array {
  const kept = COMMON.flatMap((attribute) => {
    // The broadcast address of a tunnel is its remote end, which its data has.
    if (attribute === IFLA.BROADCAST && type !== ARPHRD.ETHER) return [];
    const value = attributes.get(attribute);
    return value ? [[attribute, value] as const] : [];
  });
  return encodeAttributes(kept);
}

/** The data of a device for Stasis' own file: undefined where CRIU's entry has all of it. */
export function ownData({ kind, data }: Link): Uint8Array | undefined {
  if (kind === undefined || !data) return undefined;
  const settable = settableData(kind, data);
  return settable.length === 0 ? undefined : settable;
}

/** Kinds of the devices in images of `criu`, which tell them by a number. */
const KINDS_BY_TYPE: ReadonlyMap<number, string> = new Map(
  [...LINK_KINDS].flatMap(([kind, { type }]) => (type === NdType.EXTLINK ? [] : [[type, kind]])),
);

/** The kind of a device in an image of `criu`; undefined for `lo` and for external ones. */
export function kindOfEntry({ type }: NetDeviceEntry): string | undefined {
  return KINDS_BY_TYPE.get(type);
}
