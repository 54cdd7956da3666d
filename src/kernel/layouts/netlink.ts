/**
 * Netlink (include/uapi/linux/netlink.h, netfilter/nfnetlink.h), and the lists of sockets (inet_diag.h, unix_diag.h,
 * packet_diag.h, netlink_diag.h).
 */
import { array, bytes, struct, u8, u16, u32, type ValueOf } from './struct.ts';

/** `struct nlmsghdr`. */
export const Nlmsghdr = struct({ length: u32, type: u16, flags: u16, sequence: u32, port: u32 });

/** `struct nlattr`, before the value of an attribute. */
export const Nlattr = struct({ length: u16, type: u16 });

/** `struct nfgenmsg`; `resource` is in network order. */
export const Nfgenmsg = struct({ family: u8, version: u8, resource: bytes(2) });

/** `struct inet_diag_sockid`. Ports and addresses are in network order. */
export const InetDiagSockid = struct({
  sourcePort: bytes(2),
  destinationPort: bytes(2),
  source: bytes(16),
  destination: bytes(16),
  device: u32,
  cookie: array(u32, 2),
});

/** `struct inet_diag_req_v2`. */
export const InetDiagReq = struct({
  family: u8,
  protocol: u8,
  extensions: u8,
  pad: u8,
  states: u32,
  id: InetDiagSockid,
});

/** `struct inet_diag_msg`. */
export const InetDiagMsg = struct({
  family: u8,
  state: u8,
  timer: u8,
  retransmits: u8,
  id: InetDiagSockid,
  expires: u32,
  receiveQueue: u32,
  sendQueue: u32,
  uid: u32,
  inode: u32,
});

/** `struct unix_diag_req`. */
export const UnixDiagReq = struct({
  family: u8,
  protocol: u8,
  pad: u16,
  states: u32,
  ino: u32,
  show: u32,
  cookie: array(u32, 2),
});

/** `struct unix_diag_msg`. */
export const UnixDiagMsg = struct({ family: u8, type: u8, state: u8, pad: u8, ino: u32, cookie: array(u32, 2) });

const listRequest = { family: u8, protocol: u8, pad: u16, ino: u32, show: u32, cookie: array(u32, 2) } as const;

/** `struct packet_diag_req`. */
export const PacketDiagReq = struct(listRequest);

/** `struct packet_diag_msg`; `protocol` is that of Ethernet in host order. */
export const PacketDiagMsg = struct({ family: u8, type: u8, protocol: u16, ino: u32, cookie: array(u32, 2) });

/** `struct packet_diag_info`. */
export const PacketDiagInfo = struct({
  device: u32,
  version: u32,
  reserve: u32,
  copyThreshold: u32,
  timestamp: u32,
  flags: u32,
});

/** `struct packet_diag_mclist`. */
export const PacketDiagMclist = struct({ device: u32, count: u32, type: u16, length: u16, address: bytes(32) });
export type PacketDiagMclist = ValueOf<typeof PacketDiagMclist>;

/** `struct packet_diag_ring`. */
export const PacketDiagRing = struct({
  blockSize: u32,
  blocks: u32,
  frameSize: u32,
  frames: u32,
  retireTimeout: u32,
  privateSize: u32,
  features: u32,
});
export type PacketDiagRing = ValueOf<typeof PacketDiagRing>;

/** `struct netlink_diag_req`. */
export const NetlinkDiagReq = struct(listRequest);

/** `struct netlink_diag_msg`. */
export const NetlinkDiagMsg = struct({
  family: u8,
  type: u8,
  protocol: u8,
  state: u8,
  port: u32,
  peerPort: u32,
  peerGroup: u32,
  ino: u32,
  cookie: array(u32, 2),
});
