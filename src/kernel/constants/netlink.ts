/**
 * Netlink and its protocols (include/uapi/linux/netlink.h, sock_diag.h, unix_diag.h, packet_diag.h, netlink_diag.h,
 * inet_diag.h); rtnetlink and nf_tables have files of their own.
 */

/** Protocols of netlink. */
export const NETLINK = { ROUTE: 0, SOCK_DIAG: 4, NETFILTER: 12 } as const;

/** Level of the options of netlink sockets, and these. */
export const SOL_NETLINK = 270;
export const NETLINK_OPTION = {
  ADD_MEMBERSHIP: 1,
  PKTINFO: 3,
  BROADCAST_ERROR: 4,
  NO_ENOBUFS: 5,
  LISTEN_ALL_NSID: 8,
  LIST_MEMBERSHIPS: 9,
  CAP_ACK: 10,
  EXT_ACK: 11,
  GET_STRICT_CHK: 12,
} as const;

/** State of a netlink socket that connect(2) was called for; others have TCP_CLOSE. */
export const NETLINK_CONNECTED = 1;

/** Types of messages that all protocols have in common. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

/** Flags of messages. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  /** The list changed while it was read, so it is not consistent. */
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** Of an acknowledgement: attributes follow. */
  ACK_TLVS: 0x200,
} as const;

/** Attribute of an acknowledgement: what the kernel says in words. */
export const NLMSGERR_ATTR_MSG = 1;

/** The value of an attribute consists of attributes. */
export const NLA_F_NESTED = 0x8000;
/** The type of an attribute without its two highest bits, NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
export const NLA_TYPE_MASK = 0x3fff;

/** The request for a list of sockets, of all families. */
export const SOCK_DIAG_BY_FAMILY = 20;

/** What is asked for of unix sockets, and the attributes of an answer. */
export const UDIAG_SHOW = { NAME: 0x1, VFS: 0x2, PEER: 0x4, ICONS: 0x8, RQLEN: 0x10 } as const;
export const UNIX_DIAG = { NAME: 0, VFS: 1, PEER: 2, ICONS: 3, RQLEN: 4, SHUTDOWN: 6 } as const;

/** What is asked for of packet sockets, the attributes of an answer, and the flags in one of them (INFO). */
export const PACKET_SHOW = { INFO: 0x1, MCLIST: 0x2, RING_CFG: 0x4, FANOUT: 0x8 } as const;
export const PACKET_DIAG = { INFO: 0, MCLIST: 1, RX_RING: 2, TX_RING: 3, FANOUT: 4 } as const;
export const PDI = { AUXDATA: 0x2, ORIGDEV: 0x4, VNETHDR: 0x8, LOSS: 0x10 } as const;

/** Netlink sockets of all protocols, what is asked for of them, the attribute of an answer, and a flag in it. */
export const NDIAG_PROTO_ALL = 0xff;
export const NDIAG_SHOW = { FLAGS: 0x8 } as const;
export const NETLINK_DIAG = { FLAGS: 4 } as const;
/** The kernel is in the middle of an answer that is a list (NLM_F_DUMP). */
export const NDIAG_FLAG_CB_RUNNING = 0x1;

/** Attributes of an answer about sockets of IP. MD5SIG is for CAP_NET_ADMIN only. */
export const INET_DIAG = { INFO: 2, SHUTDOWN: 8, MD5SIG: 18 } as const;
/** In both words of a cookie: any socket. */
export const INET_DIAG_NOCOOKIE = 0xffff_ffff;
