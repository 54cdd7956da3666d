/**
 * Makes addresses, routes, rules and neighbours of a namespace what they were. The kernel makes some by itself, and
 * somebody may have deleted these: so what is there is compared with what is to be. The comparisons are pure.
 */
import { NLM_F } from '../../kernel/constants/netlink.ts';
import { IFA, IFA_F_TENTATIVE, NDA, NHA, NTF, RTA, RTM, RTM_F, RTNH_F } from '../../kernel/constants/rtnetlink.ts';
import { AF } from '../../kernel/constants/sockets.ts';
import { Ifaddrmsg, Ndmsg, Nhmsg, Rtmsg } from '../../kernel/layouts/rtnetlink.ts';
import { nap } from '../../kernel/nap.ts';
import { u32Bytes, u32sOf } from '../../kernel/netlink/attributes.ts';
import type { NetlinkMessage } from '../../kernel/netlink/message.ts';
import { attributesOf, payloadOf, withoutAttributes } from '../../kernel/netlink/rtnetlink.ts';
import { NetlinkError } from '../../kernel/netlink/socket.ts';
import { ERRNO } from '../../kernel/syscall.ts';
import type { NetworkView } from './look.ts';

/** Messages with the same key are about the same thing. */
type Key = (payload: Uint8Array) => string;

/** What has to go, and what has to come, in the order of `wanted`. */
export function difference(
  wanted: readonly NetlinkMessage[],
  present: readonly NetlinkMessage[],
  key: Key,
): { readonly surplus: NetlinkMessage[]; readonly missing: NetlinkMessage[] } {
  const wantedKeys = new Set(wanted.map(({ payload }) => key(payload)));
  const presentKeys = new Set(present.map(({ payload }) => key(payload)));
  return {
    surplus: present.filter(({ payload }) => !wantedKeys.has(key(payload))),
    missing: wanted.filter(({ payload }) => !presentKeys.has(key(payload))),
  };
}

function hex(bytes: Uint8Array = new Uint8Array()): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** An address is told by its device, its bits and those of its peer. */
export const addressKey: Key = (payload) => {
  const { family, prefix, index } = Ifaddrmsg.decode(payload);
  const attributes = attributesOf(Ifaddrmsg, payload);
  return `${family} ${prefix} ${index} ${hex(attributes.get(IFA.ADDRESS))} ${hex(attributes.get(IFA.LOCAL))}`;
};

/** Attributes that change by themselves, or that follow from others. */
const ROUTE_STATE: ReadonlySet<number> = new Set([RTA.CACHEINFO, RTA.EXPIRES]);
/** What a route has from its nexthop, if that is an object of its own. */
const FROM_NEXTHOP = [RTA.OIF, RTA.GATEWAY, RTA.MULTIPATH, RTA.VIA, RTA.ENCAP_TYPE, RTA.ENCAP];
/** Flags that tell of the state of a route and its nexthop. */
const STATE =
  RTNH_F.DEAD |
  RTNH_F.OFFLOAD |
  RTNH_F.LINKDOWN |
  RTNH_F.UNRESOLVED |
  RTNH_F.TRAP |
  RTM_F.CLONED |
  RTM_F.OFFLOAD |
  RTM_F.TRAP;

/** A route as it is asked for: without its state. `struct rta_cacheinfo` has the time it has left, in 1/100 seconds. */
export function routeRequest(payload: Uint8Array): Uint8Array {
  const { flags, ...header } = Rtmsg.decode(payload);
  const attributes = attributesOf(Rtmsg, payload);
  const dropped = attributes.has(RTA.NH_ID) ? new Set([...ROUTE_STATE, ...FROM_NEXTHOP]) : ROUTE_STATE;
  const [, , expires = 0] = u32sOf(attributes.get(RTA.CACHEINFO) ?? new Uint8Array());
  const left = Math.ceil((expires | 0) / 100);
  const request = withoutAttributes(Rtmsg, payload, dropped);
  Rtmsg.encodeInto(request, 0, { ...header, flags: flags & ~STATE });
  if (left <= 0) return request;
  const expiry = payloadOf(Rtmsg, {}, [[RTA.EXPIRES, u32Bytes(left)]]).subarray(Rtmsg.size);
  return new Uint8Array(Buffer.concat([request, expiry]));
}

/** A route is told by all it has but its state. */
export const routeKey: Key = (payload) => hex(withoutAttributes(Rtmsg, routeRequest(payload), ROUTE_STATE));

/** Rules have no state. */
export const ruleKey: Key = (payload) => hex(payload);

/** Whether the kernel was still looking for others with an address of IPv6 (duplicate address detection). */
export function isTentative({ payload }: NetlinkMessage): boolean {
  const { family, flags } = Ifaddrmsg.decode(payload);
  return family === AF.INET6 && (flags & IFA_F_TENTATIVE) !== 0;
}

/** Makes the addresses of a namespace those of the images. @throws NetlinkError */
export function settleAddresses(view: NetworkView, wanted: readonly NetlinkMessage[]): void {
  const { surplus, missing } = difference(wanted, view.addresses(), addressKey);
  for (const { payload } of surplus) unless([ERRNO.EADDRNOTAVAIL], () => view.socket.request(RTM.DELADDR, payload));
  for (const { payload } of inOrderOfAdding(missing)) {
    if (lifetimeOf(payload) === 0) continue; // it has expired meanwhile
    unless([ERRNO.EEXIST], () => view.socket.request(RTM.NEWADDR, payload, NEW));
  }
}

/** How often new addresses are looked at, and nanoseconds between two looks. */
const LOOKS = 500;
const PAUSE = 1_000_000;

/**
 * Waits until addresses of IPv6 that are not to be checked are taken into use. The kernel does so in a worker
 * (addrconf_dad_work() in net/ipv6/addrconf.c), which goes by the setting accept_dad at that moment.
 */
export function awaitAddresses(view: NetworkView, settled: readonly NetlinkMessage[]): void {
  const keys = new Set(settled.filter(isInet6).map(({ payload }) => addressKey(payload)));
  const isWaiting = (address: NetlinkMessage): boolean => isTentative(address) && keys.has(addressKey(address.payload));
  for (let look = 0; keys.size > 0 && look < LOOKS && view.addresses().some(isWaiting); look++) nap(PAUSE);
}

function isInet6({ payload }: NetlinkMessage): boolean {
  return Ifaddrmsg.decode(payload).family === AF.INET6;
}

/**
 * The kernel lists addresses of IPv6 with the newest first (ipv6_link_dev_addr() in net/ipv6/addrconf.c), those of IPv4
 * with the oldest first, whose order tells which one is the primary of a subnet. Pure.
 */
export function inOrderOfAdding(addresses: readonly NetlinkMessage[]): NetlinkMessage[] {
  return [...addresses.filter((one) => !isInet6(one)), ...addresses.filter(isInet6).reverse()];
}

const NEW = NLM_F.CREATE | NLM_F.EXCL;

/** `struct ifa_cacheinfo`: the preferred and the valid lifetime in seconds. */
function lifetimeOf(payload: Uint8Array): number | undefined {
  return u32sOf(attributesOf(Ifaddrmsg, payload).get(IFA.CACHEINFO) ?? new Uint8Array())[1];
}

/** Makes the routes of a family those of the images. @throws NetlinkError for a route that nothing leads to */
export function settleRoutes(view: NetworkView, family: number, wanted: readonly NetlinkMessage[]): void {
  const { surplus, missing } = difference(wanted, view.routes(family), routeKey);
  for (const { payload } of surplus) {
    // Those of the kernel that belong to no image, such as the ones of multicast addresses, may be gone with others.
    unless([ERRNO.ESRCH], () => view.socket.request(RTM.DELROUTE, routeRequest(payload)));
  }
  // A route is refused as long as its gateway cannot be reached, which another route may change.
  for (let rest = missing; rest.length > 0; ) {
    let refusal: unknown;
    const refused = rest.filter(({ payload }) => {
      refusal = refusalOf(() => view.socket.request(RTM.NEWROUTE, routeRequest(payload), NLM_F.CREATE | NLM_F.APPEND));
      return refusal !== undefined;
    });
    if (refused.length === rest.length) throw refusal;
    rest = refused;
  }
}

/** The error of a request, if it may succeed later; undefined if it has, or if the thing is there. */
function refusalOf(work: () => unknown): NetlinkError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    return error.errno === ERRNO.EEXIST ? undefined : error;
  }
}

/** Makes the rules of a family those of the images. @throws NetlinkError */
export function settleRules(view: NetworkView, family: number, wanted: readonly NetlinkMessage[]): void {
  const { surplus, missing } = difference(wanted, view.rules(family), ruleKey);
  for (const { payload } of missing) view.socket.request(RTM.NEWRULE, payload, NEW);
  for (const { payload } of surplus) view.socket.request(RTM.DELRULE, payload);
}

/** Attributes that only answers have. */
const NEXTHOP_STATE: ReadonlySet<number> = new Set([
  ...[NHA.OP_FLAGS, NHA.GROUP_STATS, NHA.HW_STATS_ENABLE, NHA.HW_STATS_USED],
]);

/** Makes nexthops again, those first that are no groups of others. @throws NetlinkError */
export function addNexthops({ socket }: NetworkView, nexthops: readonly NetlinkMessage[]): void {
  const isGroup = ({ payload }: NetlinkMessage): boolean => attributesOf(Nhmsg, payload).has(NHA.GROUP);
  for (const message of [...nexthops.filter((one) => !isGroup(one)), ...nexthops.filter(isGroup)]) {
    const payload = withoutAttributes(Nhmsg, message.payload, NEXTHOP_STATE);
    const { family, protocol, flags } = Nhmsg.decode(payload);
    Nhmsg.encodeInto(payload, 0, { family, protocol, flags: flags & RTNH_F.ONLINK });
    socket.request(RTM.NEWNEXTHOP, payload, NLM_F.CREATE | NLM_F.REPLACE);
  }
}

/** Attributes that tell of the past of a neighbour, and that no request has. */
const NEIGHBOUR_STATE: ReadonlySet<number> = new Set([NDA.CACHEINFO, NDA.PROBES]);

/** Makes neighbours again that somebody has set. @throws NetlinkError */
export function addNeighbours({ socket }: NetworkView, neighbours: readonly NetlinkMessage[]): void {
  for (const { payload } of neighbours) {
    const request = withoutAttributes(Ndmsg, payload, NEIGHBOUR_STATE);
    socket.request(RTM.NEWNEIGH, request, NLM_F.CREATE | NLM_F.REPLACE);
  }
}

const FORWARDING_STATE: ReadonlySet<number> = new Set([NDA.CACHEINFO, NDA.PROBES, NDA.MASTER]);

/**
 * Makes entries of forwarding tables again. Those of the ports' own addresses are there already. @throws NetlinkError
 */
export function addForwarding({ socket }: NetworkView, entries: readonly NetlinkMessage[]): void {
  for (const { payload } of entries) {
    const header = Ndmsg.decode(payload);
    const attributes = attributesOf(Ndmsg, payload);
    const master = attributes.get(NDA.MASTER);
    // What a device receives besides its own address follows from the groups it is a member of.
    if (!master && !attributes.has(NDA.DST)) continue;
    // An entry of a bridge about itself names it as its own master, and is set without one.
    const isOfMaster = master !== undefined && u32sOf(master)[0] !== header.index;
    const request = withoutAttributes(Ndmsg, payload, FORWARDING_STATE);
    Ndmsg.encodeInto(request, 0, { ...header, flags: header.flags | (isOfMaster ? NTF.MASTER : NTF.SELF) });
    unless([ERRNO.EEXIST], () => socket.request(RTM.NEWNEIGH, request, NLM_F.CREATE | NLM_F.APPEND));
  }
}

/** Passes over errors that say that there is nothing to do. */
function unless(errnos: readonly number[], work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof NetlinkError) || !errnos.includes(error.errno)) throw error;
  }
}
