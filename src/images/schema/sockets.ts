/** Sockets, their options and queues. */

import {
  bool,
  bytes,
  enumerated,
  fixed64,
  message,
  nested,
  optional,
  repeated,
  sint32,
  type TypeOf,
  text,
  uint32,
  uint64,
} from '../message.ts';
import { fownEntry } from './common.ts';

/** The directions in which a socket was shut down (shutdown(2)). */
export const SkShutdown = {
  NONE: 0,
  READ: 1,
  WRITE: 2,
  BOTH: 3,
} as const;

/** Options that all sockets have (SOL_SOCKET). */
export const skOptsEntry = message('sk_opts_entry', () => ({
  so_sndbuf: uint32(1),
  so_rcvbuf: uint32(2),
  so_snd_tmo_sec: uint64(3),
  so_snd_tmo_usec: uint64(4),
  so_rcv_tmo_sec: uint64(5),
  so_rcv_tmo_usec: uint64(6),
  reuseaddr: optional(bool(7)),
  so_priority: optional(uint32(8)),
  so_rcvlowat: optional(uint32(9)),
  so_mark: optional(uint32(10)),
  so_passcred: optional(bool(11)),
  so_passsec: optional(bool(12)),
  so_dontroute: optional(bool(13)),
  so_no_check: optional(bool(14)),
  so_bound_dev: optional(text(15)),
  so_filter: repeated(fixed64(16)),
  so_reuseport: optional(bool(17)),
  so_broadcast: optional(bool(18)),
  so_keepalive: optional(bool(19)),
  tcp_keepcnt: optional(uint32(20)),
  tcp_keepidle: optional(uint32(21)),
  tcp_keepintvl: optional(uint32(22)),
  so_oobinline: optional(uint32(23)),
  so_linger: optional(uint32(24)),
  so_buf_lock: optional(uint32(25)),
}));
export type SkOptsEntry = TypeOf<typeof skOptsEntry>;

/** Options of raw IP sockets. */
export const ipOptsRawEntry = message('ip_opts_raw_entry', () => ({
  hdrincl: optional(bool(1)),
  nodefrag: optional(bool(2)),
  checksum: optional(bool(3)),
  icmpv_filter: repeated(uint32(4)),
}));
export type IpOptsRawEntry = TypeOf<typeof ipOptsRawEntry>;

/** Options of IP sockets. */
export const ipOptsEntry = message('ip_opts_entry', () => ({
  freebind: optional(bool(1)),
  raw: optional(nested(4, ipOptsRawEntry)),
  pktinfo: optional(bool(5)),
  tos: optional(uint32(6)),
  ttl: optional(uint32(7)),
}));
export type IpOptsEntry = TypeOf<typeof ipOptsEntry>;

/** An IP socket. `id` is the open file's, `ino` names its TCP stream. */
export const inetSkEntry = message('inet_sk_entry', () => ({
  id: uint32(1),
  ino: uint32(2),
  family: uint32(3, 'sk'),
  type: uint32(4, 'sk'),
  proto: uint32(5, 'sk'),
  state: uint32(6, 'sk'),
  src_port: uint32(7),
  dst_port: uint32(8),
  flags: uint32(9, 'hex'),
  backlog: uint32(10),
  src_addr: repeated(uint32(11, 'ip')),
  dst_addr: repeated(uint32(12, 'ip')),
  fown: nested(13, fownEntry),
  opts: nested(14, skOptsEntry),
  v6only: optional(bool(15)),
  ip_opts: optional(nested(16, ipOptsEntry)),
  ifname: optional(text(17)),
  ns_id: optional(uint32(18)),
  shutdown: optional(enumerated(19, SkShutdown)),
  tcp_opts: optional(nested(20, tcpOptsEntry)),
}));
export type InetSkEntry = TypeOf<typeof inetSkEntry>;

/** Options of TCP sockets. */
export const tcpOptsEntry = message('tcp_opts_entry', () => ({
  cork: optional(bool(1)),
  nodelay: optional(bool(2)),
  keepcnt: optional(uint32(3)),
  keepidle: optional(uint32(4)),
  keepintvl: optional(uint32(5)),
}));
export type TcpOptsEntry = TypeOf<typeof tcpOptsEntry>;

/** `tcp-stream-%x.img`: the state of a connection; its two queues follow. */
export const tcpStreamEntry = message('tcp_stream_entry', () => ({
  inq_len: uint32(1),
  inq_seq: uint32(2),
  outq_len: uint32(3),
  outq_seq: uint32(4),
  opt_mask: uint32(5, 'hex'),
  snd_wscale: uint32(6),
  mss_clamp: uint32(7),
  rcv_wscale: optional(uint32(8)),
  timestamp: optional(uint32(9)),
  cork: optional(bool(10)),
  nodelay: optional(bool(11)),
  unsq_len: optional(uint32(12)),
  snd_wl1: optional(uint32(13)),
  snd_wnd: optional(uint32(14)),
  max_window: optional(uint32(15)),
  rcv_wnd: optional(uint32(16)),
  rcv_wup: optional(uint32(17)),
}));
export type TcpStreamEntry = TypeOf<typeof tcpStreamEntry>;

/** Mode and owner of a socket's file. */
export const filePermsEntry = message('file_perms_entry', () => ({
  mode: uint32(1),
  uid: uint32(2),
  gid: uint32(3),
}));
export type FilePermsEntry = TypeOf<typeof filePermsEntry>;

/** A unix socket. `id` is the open file's, `ino` is what a peer refers to. */
export const unixSkEntry = message('unix_sk_entry', () => ({
  id: uint32(1),
  ino: uint32(2),
  type: uint32(3, 'sk'),
  state: uint32(4, 'sk'),
  flags: uint32(5, 'hex'),
  uflags: uint32(6, 'hex'),
  backlog: uint32(7),
  peer: uint32(8),
  fown: nested(9, fownEntry),
  opts: nested(10, skOptsEntry),
  name: bytes(11, 'unix_name'),
  shutdown: optional(enumerated(12, SkShutdown)),
  file_perms: optional(nested(13, filePermsEntry)),
  name_dir: optional(text(14)),
  deleted: optional(bool(15)),
  ns_id: optional(uint32(16)),
  mnt_id: optional(sint32(17), -1),
}));
export type UnixSkEntry = TypeOf<typeof unixSkEntry>;

/** A netlink socket. */
export const netlinkSkEntry = message('netlink_sk_entry', () => ({
  id: uint32(1),
  ino: uint32(2),
  protocol: uint32(3),
  state: uint32(4),
  flags: uint32(6, 'hex'),
  portid: uint32(7),
  groups: repeated(uint32(8)),
  dst_portid: uint32(9),
  dst_group: uint32(10),
  fown: nested(11, fownEntry),
  opts: nested(12, skOptsEntry),
  ns_id: optional(uint32(13)),
}));
export type NetlinkSkEntry = TypeOf<typeof netlinkSkEntry>;

/** A membership of a packet socket. */
export const packetMclist = message('packet_mclist', () => ({
  index: uint32(1),
  type: uint32(2),
  addr: bytes(3),
}));
export type PacketMclist = TypeOf<typeof packetMclist>;

/** A ring buffer of a packet socket. */
export const packetRing = message('packet_ring', () => ({
  block_size: uint32(1),
  block_nr: uint32(2),
  frame_size: uint32(3),
  frame_nr: uint32(4),
  retire_tmo: uint32(5),
  sizeof_priv: uint32(6),
  features: uint32(7),
}));
export type PacketRing = TypeOf<typeof packetRing>;

/** A packet socket. */
export const packetSockEntry = message('packet_sock_entry', () => ({
  id: uint32(1),
  type: uint32(2),
  protocol: uint32(3),
  flags: uint32(4, 'hex'),
  ifindex: uint32(5),
  fown: nested(6, fownEntry),
  opts: nested(7, skOptsEntry),
  version: uint32(8),
  reserve: uint32(9),
  aux_data: bool(10),
  orig_dev: bool(11),
  vnet_hdr: bool(12),
  loss: bool(13),
  timestamp: uint32(14),
  copy_thresh: uint32(15),
  mclist: repeated(nested(16, packetMclist)),
  fanout: optional(uint32(17), 0xffffffff),
  rx_ring: optional(nested(18, packetRing)),
  tx_ring: optional(nested(19, packetRing)),
  ns_id: optional(uint32(20)),
}));
export type PacketSockEntry = TypeOf<typeof packetSockEntry>;

/** Control data of a packet: open files on their way. */
export const scmEntry = message('scm_entry', () => ({
  type: uint32(1),
  rights: repeated(uint32(2)),
}));
export type ScmEntry = TypeOf<typeof scmEntry>;

/** `sk-queues.img`: so many bytes of one queued packet follow. */
export const skPacketEntry = message('sk_packet_entry', () => ({
  id_for: uint32(1),
  length: uint32(2),
  scm: repeated(nested(4, scmEntry)),
}));
export type SkPacketEntry = TypeOf<typeof skPacketEntry>;
