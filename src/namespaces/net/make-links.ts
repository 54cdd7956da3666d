/** Requests that make network devices. */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { cstring } from '../../base/text.ts';
import { NLA_F_NESTED, NLM_F } from '../../kernel/constants/netlink.ts';
import {
  ARPHRD,
  IFF_LINK,
  IFLA,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO,
  RTM,
  VETH_INFO_PEER,
} from '../../kernel/constants/rtnetlink.ts';
import { AF } from '../../kernel/constants/sockets.ts';
import { Ifinfomsg } from '../../kernel/layouts/rtnetlink.ts';
import type { Attributes } from '../../kernel/netlink/attributes.ts';
import { encodeAttributes, listAttributes, u32Bytes } from '../../kernel/netlink/attributes.ts';
import { payloadOf } from '../../kernel/netlink/rtnetlink.ts';
import { changedSlaveData, settableData } from './link-kinds.ts';
import type { Link } from './links.ts';
import type { NetworkView } from './look.ts';
import { dataOfEntry } from './saved-links.ts';
import { bytesOf, type SavedLink } from './saved-network.ts';

/** The descriptor of a namespace that a device is to be in. */
function inNamespace(fd: LocalFd): Attributes {
  return [[IFLA.NET_NS_FD, u32Bytes(fd)]];
}

/** What a request for a new device has, whatever its kind. */
function identity({ entry, own, kind }: SavedLink): Attributes {
  const { name, mtu, address } = entry;
  const common = own?.common === undefined ? [] : listAttributes(bytesOf(own.common));
  return [
    [IFLA.IFNAME, cstring(name)],
    [IFLA.MTU, u32Bytes(mtu)],
    // The address of a tunnel is its local end, which its data has.
    ...(address?.length === 6 && kind !== 'sit' ? [[IFLA.ADDRESS, address] as const] : []),
    ...common.filter(([type]) => type !== IFLA.IFALIAS),
  ];
}

function linkInfo(kind: string, data: Uint8Array): Attributes {
  const info: Attributes = [
    [IFLA_INFO.KIND, cstring(kind)],
    ...(data.length > 0 ? [[IFLA_INFO.DATA, data] as const] : []),
  ];
  return [[IFLA.LINKINFO, encodeAttributes(info)]];
}

function dataOf({ entry, own, kind }: SavedLink): Uint8Array {
  if (kind === undefined) return new Uint8Array();
  return own?.data === undefined ? dataOfEntry(entry) : settableData(kind, bytesOf(own.data));
}

const NEW = NLM_F.CREATE | NLM_F.EXCL;

/** Makes a device that needs nothing, or that is stacked on another one of the same namespace. */
export function requestLink(view: NetworkView, link: SavedLink, lower: number | undefined): void {
  const attributes = [
    ...identity(link),
    ...(lower === undefined ? [] : [[IFLA.LINK, u32Bytes(lower)] as const]),
    ...linkInfo(link.kind ?? '', dataOf(link)),
  ];
  view.socket.request(RTM.NEWLINK, payloadOf(Ifinfomsg, { index: link.entry.ifindex }, attributes), NEW);
}

/** Makes a veth pair, of which one end is in the namespace of `view`. */
export function requestPair(view: NetworkView, link: SavedLink, peer: SavedLink, peerNamespace: LocalFd): void {
  const other = payloadOf(Ifinfomsg, { index: peer.entry.ifindex }, [...identity(peer), ...inNamespace(peerNamespace)]);
  requestVeth(view, link, other);
}

/** Makes a veth pair with an end in a namespace outside, where that end gets its index from the kernel. */
export function requestOuterPair(view: NetworkView, link: SavedLink, name: string, outside: LocalFd): void {
  requestVeth(view, link, payloadOf(Ifinfomsg, {}, [[IFLA.IFNAME, cstring(name)], ...inNamespace(outside)]));
}

function requestVeth(view: NetworkView, link: SavedLink, peer: Uint8Array): void {
  const attributes = [...identity(link), ...linkInfo('veth', encodeAttributes([[VETH_INFO_PEER, peer]]))];
  view.socket.request(RTM.NEWLINK, payloadOf(Ifinfomsg, { index: link.entry.ifindex }, attributes), NEW);
}

/** Moves a device from one namespace into another, where it gets its name, its index and its address. */
export function moveLink(from: NetworkView, index: number, link: SavedLink, target: LocalFd): void {
  const moved = identity(link).filter(([type]) => type === IFLA.IFNAME || !CREATION_ONLY.has(type));
  const attributes = [...moved, [IFLA.NEW_IFINDEX, u32Bytes(link.entry.ifindex)] as const];
  from.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, { index }, [...attributes, ...inNamespace(target)]));
}

/** Moves a device out of a namespace, under another name. */
export function moveOut(from: NetworkView, index: number, name: string, target: LocalFd): void {
  const attributes: Attributes = [[IFLA.IFNAME, cstring(name)], ...inNamespace(target)];
  from.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, { index }, attributes));
}

/**
 * Makes a device that is stacked on one of another namespace: there, under a name for the time being, because that
 * namespace may have its name and its index; then it is moved.
 */
export function requestElsewhere(there: NetworkView, lower: number, link: SavedLink, target: LocalFd): void {
  const temporary = `stasis${process.pid % 1_000_000}`;
  const attributes: Attributes = [
    [IFLA.IFNAME, cstring(temporary)],
    [IFLA.LINK, u32Bytes(lower)],
    ...linkInfo(link.kind ?? '', dataOf(link)),
  ];
  there.socket.request(RTM.NEWLINK, payloadOf(Ifinfomsg, {}, attributes), NEW);
  const made = there.linkNamed(temporary);
  if (!made) throw new StasisError({ kind: 'kernel', resource: temporary, reason: 'the device vanished at once' });
  try {
    moveLink(there, made.index, link, target);
  } catch (error) {
    there.socket.request(RTM.DELLINK, payloadOf(Ifinfomsg, { index: made.index }));
    throw error;
  }
}

/** Makes a device a port of another one. */
export function setMaster(view: NetworkView, { entry }: SavedLink, master: number): void {
  const request = payloadOf(Ifinfomsg, { index: entry.ifindex }, [[IFLA.MASTER, u32Bytes(master)]]);
  view.socket.request(RTM.SETLINK, request);
}

/** Sets what the master of a port keeps about it, where it differs. `now`: the port as it is. */
export function setSlaveData(view: NetworkView, { own }: SavedLink, now: Link, masterKind: string): void {
  if (own?.slave === undefined) return;
  const changed = changedSlaveData(masterKind, bytesOf(own.slave), now.slaveData ?? new Uint8Array());
  if (!changed) return;
  const info: Attributes = [
    [IFLA_INFO.SLAVE_KIND, cstring(masterKind)],
    [IFLA_INFO.SLAVE_DATA, changed],
  ];
  const request = payloadOf(Ifinfomsg, { index: now.index }, [[IFLA.LINKINFO, encodeAttributes(info)]]);
  view.socket.request(RTM.NEWLINK, request);
}

/** Sets what a device that is there already is to have in common with the one of the images. */
export function setPresent(view: NetworkView, link: SavedLink, now: Link): void {
  const attributes = identity(link).filter(([type]) => !CREATION_ONLY.has(type));
  const isLoopback = now.type === ARPHRD.LOOPBACK;
  const kept = attributes.filter(([type, value]) => {
    return !(isLoopback && type === IFLA.BROADCAST) && Buffer.compare(value, now.attributes.get(type) ?? NONE) !== 0;
  });
  if (kept.length > 0) view.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, { index: now.index }, kept));
}

const NONE = new Uint8Array();
const CREATION_ONLY: ReadonlySet<number> = new Set([IFLA.IFNAME, IFLA.NUM_TX_QUEUES, IFLA.NUM_RX_QUEUES]);

/** Sets what a request for a new device cannot have: an alias, other names. */
export function setNames(view: NetworkView, { own }: SavedLink, index: number): void {
  const alias = own?.common === undefined ? undefined : listAttributes(bytesOf(own.common)).find(isAlias)?.[1];
  if (alias && alias.length > 0) {
    view.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, { index }, [[IFLA.IFALIAS, alias]]));
  }
  if (own?.otherNames === undefined) return;
  const names = own.otherNames.map((name) => [IFLA.ALT_IFNAME, cstring(name)] as const);
  const list: Attributes = [[NLA_F_NESTED | IFLA.PROP_LIST, encodeAttributes(names)]];
  view.socket.request(RTM.NEWLINKPROP, payloadOf(Ifinfomsg, { index }, list), NEW | NLM_F.APPEND);
}

function isAlias([type]: readonly [number, Uint8Array]): boolean {
  return type === IFLA.IFALIAS;
}

const SETTABLE = Object.values(IFF_LINK).reduce((all, flag) => all | flag, 0);

/** Sets the flags of a device that users set, UP among them. */
export function setFlags(view: NetworkView, index: number, flags: number): void {
  const request = payloadOf(Ifinfomsg, { index, flags: flags & SETTABLE, change: SETTABLE });
  view.socket.request(RTM.SETLINK, request);
}

/** Says how a device gets its link-local address (IN6_ADDR_GEN_MODE_*), without giving it one now. */
export function setAddressMode(view: NetworkView, index: number, mode: number): void {
  const inet6 = encodeAttributes([[IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(mode)]]);
  const families = encodeAttributes([[NLA_F_NESTED | AF.INET6, inet6]]);
  view.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, { index }, [[NLA_F_NESTED | IFLA.AF_SPEC, families]]));
}
