/** Network devices as rtnetlink describes them. Pure. */
import { ARPHRD, IFF_LINK, IFLA, IFLA_INFO, IFLA_XDP_ATTACHED } from '../../kernel/constants/rtnetlink.ts';
import { Ifinfomsg } from '../../kernel/layouts/rtnetlink.ts';
import { decodeAttributes } from '../../kernel/netlink/attributes.ts';
import { attributesOf, i32Of, textOf, u32Of } from '../../kernel/netlink/rtnetlink.ts';

/** A network device, seen from inside its namespace. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** ARPHRD_*. */
  readonly type: number;
  /** IFF_*. */
  readonly flags: number;
  readonly mtu: number;
  /** What drives it, by the name that `ip link add type` takes; undefined for `lo` and for hardware. */
  readonly kind: string | undefined;
  readonly address: Uint8Array | undefined;
  /** Index of the device it is a port of: a bridge, a bond. */
  readonly master: number | undefined;
  /** Index of the device it is stacked on or, for veth, of its other end; undefined where it is not tied to one. */
  readonly lower: number | undefined;
  /** The ID of the namespace `lower` is in, as this namespace knows it; undefined if it is the same. */
  readonly lowerNsid: number | undefined;
  /** What only its kind knows (IFLA_INFO_DATA). */
  readonly data: Uint8Array | undefined;
  /** What its master keeps about it (IFLA_INFO_SLAVE_DATA). */
  readonly slaveData: Uint8Array | undefined;
  /** Whether it runs a program of XDP. */
  readonly hasXdp: boolean;
  /** All attributes, by type. */
  readonly attributes: ReadonlyMap<number, Uint8Array>;
}

/** Decodes the payload of RTM_NEWLINK. */
export function decodeLink(payload: Uint8Array): Link {
  const { index, type, flags } = Ifinfomsg.decode(payload);
  const attributes = attributesOf(Ifinfomsg, payload);
  const info = decodeAttributes(attributes.get(IFLA.LINKINFO) ?? new Uint8Array());
  const lower = u32Of(attributes.get(IFLA.LINK));
  const [xdp = 0] = decodeAttributes(attributes.get(IFLA.XDP) ?? new Uint8Array()).get(IFLA_XDP_ATTACHED) ?? [];
  return {
    index,
    name: textOf(attributes.get(IFLA.IFNAME)) ?? '',
    type,
    flags,
    mtu: u32Of(attributes.get(IFLA.MTU)) ?? 0,
    kind: textOf(info.get(IFLA_INFO.KIND)),
    address: attributes.get(IFLA.ADDRESS)?.slice(),
    master: u32Of(attributes.get(IFLA.MASTER)),
    lower: lower === 0 ? undefined : lower,
    lowerNsid: i32Of(attributes.get(IFLA.LINK_NETNSID)),
    data: info.get(IFLA_INFO.DATA),
    slaveData: info.get(IFLA_INFO.SLAVE_DATA),
    hasXdp: xdp !== 0,
    attributes,
  };
}

/** Whether it is the loopback device, which each namespace has from the beginning. */
export function isLoopback({ type }: Link): boolean {
  return type === ARPHRD.LOOPBACK;
}

/** Devices that a tunnel's module puts into each namespace by itself. */
const FALLBACKS = new Set([
  ...['sit0', 'gre0', 'gretap0', 'erspan0', 'tunl0', 'ip6tnl0', 'ip6gre0', 'ip_vti0', 'ip6_vti0'],
]);

/** Whether the kernel has put a device into the namespace by itself, and nobody uses it. */
export function isUnusedFallback({ name, flags, kind }: Link): boolean {
  return kind !== undefined && FALLBACKS.has(name) && (flags & IFF_LINK.UP) === 0;
}
