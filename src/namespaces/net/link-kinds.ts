/**
 * The kinds of network devices that are carried. What the kernel tells of a device (IFLA_INFO_DATA) is what a request
 * for a new one takes, but for attributes that only tell of its state. Pure.
 */
import { NdType } from '../../images/schema/network.ts';
import { BOND_MODE, IFLA_BOND, IFLA_BR, IFLA_VXLAN } from '../../kernel/constants/rtnetlink.ts';
import { decodeAttributes, encodeAttributes, listAttributes, u32sOf } from '../../kernel/netlink/attributes.ts';
import { u32Of } from '../../kernel/netlink/rtnetlink.ts';

/** How a kind of device is made again. */
export interface LinkKind {
  /** Its number in CRIU's images; EXTLINK for those that CRIU does not know. */
  readonly type: number;
  /** Attributes of IFLA_INFO_DATA that a request for a new device has. */
  readonly settable: readonly number[];
  /** Whether it is stacked on another device, without which it cannot be made. */
  readonly stacked?: boolean;
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** IFLA_IPTUN_*: tunnels of IPv4 and IPv6 in IP. */
const IPTUN = range(1, 20);
/** IFLA_GRE_*. */
const GRE = range(1, 24);
/** IFLA_VTI_*. */
const VTI = range(1, 6);
/** IFLA_MACVLAN_MODE, FLAGS, BC_QUEUE_LEN, BC_CUTOFF. */
const MACVLAN = [1, 2, 7, 9];

/** By the name of the kind. */
export const LINK_KINDS: ReadonlyMap<string, LinkKind> = new Map<string, LinkKind>([
  ['veth', { type: NdType.VETH, settable: [] }],
  ['tun', { type: NdType.TUN, settable: [] }],
  // IFLA_BR_*: without the state of the spanning tree, counters, and the group address (see ownGroupAddress).
  ['bridge', { type: NdType.BRIDGE, settable: [...range(1, 9), ...range(22, 39), ...range(41, 46), 49] }],
  ['macvlan', { type: NdType.MACVLAN, settable: MACVLAN, stacked: true }],
  ['macvtap', { type: NdType.EXTLINK, settable: MACVLAN, stacked: true }],
  ['ipvlan', { type: NdType.EXTLINK, settable: [1, 2], stacked: true }],
  ['ipvtap', { type: NdType.EXTLINK, settable: [1, 2], stacked: true }],
  ['vlan', { type: NdType.EXTLINK, settable: range(1, 5), stacked: true }],
  ['vxlan', { type: NdType.EXTLINK, settable: range(1, 34) }],
  ['dummy', { type: NdType.EXTLINK, settable: [] }],
  ['ifb', { type: NdType.EXTLINK, settable: [] }],
  ['vrf', { type: NdType.EXTLINK, settable: [1] }],
  // IFLA_BOND_*: without the active slave and the primary one, which are set when there are slaves.
  ['bond', { type: NdType.EXTLINK, settable: [1, ...range(3, 10), ...range(12, 22), ...range(24, 32)] }],
  ['sit', { type: NdType.SIT, settable: IPTUN }],
  ['ipip', { type: NdType.EXTLINK, settable: IPTUN }],
  ['ip6tnl', { type: NdType.EXTLINK, settable: IPTUN }],
  ['gre', { type: NdType.EXTLINK, settable: GRE }],
  ['gretap', { type: NdType.EXTLINK, settable: GRE }],
  ['erspan', { type: NdType.EXTLINK, settable: GRE }],
  ['ip6gre', { type: NdType.EXTLINK, settable: GRE }],
  ['ip6gretap', { type: NdType.EXTLINK, settable: GRE }],
  ['vti', { type: NdType.EXTLINK, settable: VTI }],
  ['vti6', { type: NdType.EXTLINK, settable: VTI }],
  ['geneve', { type: NdType.EXTLINK, settable: range(1, 14) }],
]);

/** Tunnels that name the device their packets leave by in their data, and by which attribute. */
const LOWER_IN_DATA: ReadonlyMap<string, number> = new Map([
  ['vxlan', IFLA_VXLAN.LINK],
  ...['sit', 'ipip', 'ip6tnl', 'gre', 'gretap', 'erspan', 'ip6gre', 'ip6gretap', 'vti', 'vti6'].map(
    (kind): [string, number] => [kind, 1],
  ),
]);

/** The index of the device that a tunnel's packets leave by; undefined if the routes decide. */
export function lowerInData(kind: string, data: Uint8Array): number | undefined {
  const attribute = LOWER_IN_DATA.get(kind);
  const index = attribute === undefined ? 0 : u32Of(decodeAttributes(data).get(attribute));
  return index === 0 ? undefined : index;
}

/** What of IFLA_INFO_DATA a request for a new device has. */
export function settableData(kind: string, data: Uint8Array): Uint8Array {
  const { settable = [] } = LINK_KINDS.get(kind) ?? {};
  const fits = kind === 'bond' ? fitsBond(data) : () => true;
  const kept = listAttributes(data).filter(([type, value]) => settable.includes(type) && fits(type, value));
  if (kind === 'bridge') return encodeAttributes(kept.flatMap(bridgeAttribute));
  return encodeAttributes(kind === 'vxlan' ? kept.flatMap(vxlanAttribute) : kept);
}

const REMOTE_CHECKSUMS: readonly number[] = [IFLA_VXLAN.REMCSUM_TX, IFLA_VXLAN.REMCSUM_RX];

/**
 * The kernel takes the mere presence of the attributes about remote checksums for a use of these bits of the header,
 * and tells the other one as a number, but takes it as an attribute without a value (drivers/net/vxlan/vxlan_core.c).
 */
function vxlanAttribute([type, value]: [number, Uint8Array]): [number, Uint8Array][] {
  if (REMOTE_CHECKSUMS.includes(type) && value[0] === 0) return [];
  if (type !== IFLA_VXLAN.TTL_INHERIT || value.length === 0) return [[type, value]];
  return value[0] === 0 ? [] : [[type, new Uint8Array()]];
}

/**
 * The kernel tells what it is built without, but refuses to be asked for it, even for what it is (br_changelink() in
 * net/bridge/br_netlink.c). So only what is on is asked for; the second of these attributes is `struct
 * br_boolopt_multi`: values, and which of them are meant.
 */
function bridgeAttribute([type, value]: [number, Uint8Array]): [number, Uint8Array][] {
  if (type === IFLA_BR.VLAN_FILTERING) return value[0] === 0 ? [] : [[type, value]];
  if (type !== IFLA_BR.MULTI_BOOLOPT) return [[type, value]];
  const [on = 0] = u32sOf(value);
  return on === 0 ? [] : [[type, new Uint8Array(new Uint32Array([on, on]).buffer)]];
}

/** Attributes of a bond that only some modes have; in the others a request with them is refused. */
const BOND_MODES: readonly { readonly types: readonly number[]; readonly modes: readonly number[] }[] = [
  { types: [21, 24, 25, 26, 29, 32], modes: [BOND_MODE['8023AD']] },
  { types: [19], modes: [BOND_MODE.ROUNDROBIN] },
  { types: [27], modes: [BOND_MODE.TLB, BOND_MODE.ALB] },
  { types: [7, 9], modes: [0, 1, 2, 3] },
];
/** Intervals and delays of a bond, which depend on one another unless they are 0. */
const { MIIMON, UPDELAY, DOWNDELAY, ARP_INTERVAL, ARP_VALIDATE, PEER_NOTIF_DELAY } = IFLA_BOND;
const BOND_DELAYS: ReadonlySet<number> = new Set([
  ...[MIIMON, UPDELAY, DOWNDELAY, ARP_INTERVAL, ARP_VALIDATE, PEER_NOTIF_DELAY],
]);

function fitsBond(data: Uint8Array): (type: number, value: Uint8Array) => boolean {
  const [mode = BOND_MODE.ROUNDROBIN] = decodeAttributes(data).get(IFLA_BOND.MODE) ?? [];
  return (type, value) => {
    if (BOND_DELAYS.has(type) && u32Of(value) === 0) return false;
    return BOND_MODES.every(({ types, modes }) => !types.includes(type) || modes.includes(mode));
  };
}

/** Attributes of a port of a bridge (IFLA_BRPORT_*) that can be set; others tell of its state. */
const BRIDGE_PORT = [2, 3, ...range(4, 12), 25, ...range(27, 34), 37, 39, 40, 42, 43];
/** Attributes of a slave of a bond that can be set: IFLA_BOND_SLAVE_QUEUE_ID and PRIO. */
const BOND_SLAVE = [5, 9];

/**
 * What of IFLA_INFO_SLAVE_DATA differs from what a port has, and can be set. Undefined if nothing does: so a cost that
 * follows from the speed of the device stays one that follows.
 */
export function changedSlaveData(kind: string, wanted: Uint8Array, has: Uint8Array): Uint8Array | undefined {
  const settable = kind === 'bridge' ? BRIDGE_PORT : kind === 'bond' ? BOND_SLAVE : [];
  const now = decodeAttributes(has);
  const changed = listAttributes(wanted).filter(([type, value]) => {
    return settable.includes(type) && Buffer.compare(value, now.get(type) ?? new Uint8Array()) !== 0;
  });
  return changed.length === 0 ? undefined : encodeAttributes(changed);
}
