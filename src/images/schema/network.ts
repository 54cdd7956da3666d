/** Network namespaces and their devices. */

import {
  bool,
  bytes,
  enumerated,
  int32,
  message,
  nested,
  optional,
  repeated,
  type TypeOf,
  text,
  uint32,
} from '../message.ts';

/** Kinds of network devices. */
export const NdType = {
  LOOPBACK: 1,
  VETH: 2,
  TUN: 3,
  EXTLINK: 4,
  VENET: 5,
  BRIDGE: 6,
  MACVLAN: 7,
  SIT: 8,
} as const;

/** `netdev-%u.img`: one network device. */
export const netDeviceEntry = message('net_device_entry', () => ({
  type: enumerated(1, NdType),
  ifindex: uint32(2),
  mtu: uint32(3),
  flags: uint32(4, 'hex'),
  name: text(5),
  tun: optional(nested(6, tunLinkEntry)),
  address: optional(bytes(7)),
  conf: repeated(int32(8)),
  conf4: repeated(nested(9, sysctlEntry)),
  conf6: repeated(nested(10, sysctlEntry)),
  macvlan: optional(nested(11, macvlanLinkEntry)),
  peer_ifindex: optional(uint32(12)),
  peer_nsid: optional(uint32(13)),
  master: optional(uint32(14)),
  sit: optional(nested(15, sitEntry)),
}));
export type NetDeviceEntry = TypeOf<typeof netDeviceEntry>;

/** The ID by which one network namespace knows another (RTM_GETNSID). */
export const netnsId = message('netns_id', () => ({
  target_ns_id: uint32(1),
  netnsid_value: int32(2),
}));
export type NetnsId = TypeOf<typeof netnsId>;

/** `netns-%u.img`: the settings of a network namespace. */
export const netnsEntry = message('netns_entry', () => ({
  def_conf: repeated(int32(1)),
  all_conf: repeated(int32(2)),
  def_conf4: repeated(nested(3, sysctlEntry)),
  all_conf4: repeated(nested(4, sysctlEntry)),
  def_conf6: repeated(nested(5, sysctlEntry)),
  all_conf6: repeated(nested(6, sysctlEntry)),
  nsids: repeated(nested(7, netnsId)),
  ext_key: optional(text(8)),
  unix_conf: repeated(nested(9, sysctlEntry)),
  ipv4_sysctl: repeated(nested(10, sysctlEntry)),
}));
export type NetnsEntry = TypeOf<typeof netnsEntry>;

/** Types of the value of a setting. */
export const SysctlType = {
  CTL_STR: 5,
  CTL_32: 6,
} as const;

/** The value of a setting. */
export const sysctlEntry = message('sysctl_entry', () => ({
  type: enumerated(1, SysctlType),
  iarg: optional(int32(2)),
  sarg: optional(text(3)),
}));
export type SysctlEntry = TypeOf<typeof sysctlEntry>;

/** An open file of /dev/net/tun. */
export const tunfileEntry = message('tunfile_entry', () => ({
  id: uint32(1),
  netdev: optional(text(2)),
  detached: optional(bool(3)),
  ns_id: optional(uint32(4)),
}));
export type TunfileEntry = TypeOf<typeof tunfileEntry>;

/** A tun or tap device. */
export const tunLinkEntry = message('tun_link_entry', () => ({
  flags: uint32(1, 'hex'),
  owner: int32(2),
  group: int32(3),
  vnethdr: uint32(4),
  sndbuf: uint32(5),
}));
export type TunLinkEntry = TypeOf<typeof tunLinkEntry>;

/** A macvlan device. */
export const macvlanLinkEntry = message('macvlan_link_entry', () => ({
  mode: uint32(1),
  flags: optional(uint32(2)),
}));
export type MacvlanLinkEntry = TypeOf<typeof macvlanLinkEntry>;

/** An IPv6-in-IPv4 tunnel. */
export const sitEntry = message('sit_entry', () => ({
  link: optional(uint32(1)),
  local: repeated(uint32(2, 'ip')),
  remote: repeated(uint32(3, 'ip')),
  ttl: optional(uint32(4)),
  tos: optional(uint32(5)),
  pmtudisc: optional(bool(6)),
  proto: optional(uint32(7)),
  flags: optional(uint32(8)),
  encap_type: optional(uint32(9)),
  encap_flags: optional(uint32(10)),
  encap_sport: optional(uint32(11)),
  encap_dport: optional(uint32(12)),
  rd_prefixlen: optional(uint32(13)),
  rd_prefix: repeated(uint32(14, 'ip')),
  relay_prefixlen: optional(uint32(15)),
  relay_prefix: repeated(uint32(16, 'ip')),
}));
export type SitEntry = TypeOf<typeof sitEntry>;
