/** Options of sockets of IP (uapi/linux/in.h, in6.h) and of TCP (uapi/linux/tcp.h). */

/** Options of level IPPROTO_IP. */
export const IP = {
  TOS: 1,
  TTL: 2,
  HDRINCL: 3,
  OPTIONS: 4,
  RECVOPTS: 6,
  RETOPTS: 7,
  PKTINFO: 8,
  MTU_DISCOVER: 10,
  RECVERR: 11,
  RECVTTL: 12,
  RECVTOS: 13,
  FREEBIND: 15,
  PASSSEC: 18,
  TRANSPARENT: 19,
  RECVORIGDSTADDR: 20,
  MINTTL: 21,
  NODEFRAG: 22,
  CHECKSUM: 23,
  BIND_ADDRESS_NO_PORT: 24,
  RECVFRAGSIZE: 25,
  RECVERR_RFC4884: 26,
  MULTICAST_IF: 32,
  MULTICAST_TTL: 33,
  MULTICAST_LOOP: 34,
  MULTICAST_ALL: 49,
  UNICAST_IF: 50,
  LOCAL_PORT_RANGE: 51,
} as const;

/** Options of level IPPROTO_IPV6. */
export const IPV6 = {
  CHECKSUM: 7,
  UNICAST_HOPS: 16,
  MULTICAST_IF: 17,
  MULTICAST_HOPS: 18,
  MULTICAST_LOOP: 19,
  MTU_DISCOVER: 23,
  RECVERR: 25,
  V6ONLY: 26,
  MULTICAST_ALL: 29,
  RECVERR_RFC4884: 31,
  FLOWINFO_SEND: 33,
  HDRINCL: 36,
  RECVPKTINFO: 49,
  RECVHOPLIMIT: 51,
  /** The control message that tells the hop limit. */
  HOPLIMIT: 52,
  RECVHOPOPTS: 53,
  HOPOPTS: 54,
  RTHDRDSTOPTS: 55,
  RECVRTHDR: 56,
  RTHDR: 57,
  RECVDSTOPTS: 58,
  DSTOPTS: 59,
  RECVPATHMTU: 60,
  DONTFRAG: 62,
  RECVTCLASS: 66,
  TCLASS: 67,
  AUTOFLOWLABEL: 70,
  ADDR_PREFERENCES: 72,
  MINHOPCOUNT: 73,
  RECVORIGDSTADDR: 74,
  TRANSPARENT: 75,
  UNICAST_IF: 76,
  RECVFRAGSIZE: 77,
  FREEBIND: 78,
} as const;

/** Options of level IPPROTO_TCP. */
export const TCP = {
  NODELAY: 1,
  MAXSEG: 2,
  CORK: 3,
  KEEPIDLE: 4,
  KEEPINTVL: 5,
  KEEPCNT: 6,
  SYNCNT: 7,
  LINGER2: 8,
  DEFER_ACCEPT: 9,
  WINDOW_CLAMP: 10,
  INFO: 11,
  QUICKACK: 12,
  CONGESTION: 13,
  MD5SIG: 14,
  THIN_LINEAR_TIMEOUTS: 16,
  THIN_DUPACK: 17,
  USER_TIMEOUT: 18,
  REPAIR: 19,
  REPAIR_QUEUE: 20,
  QUEUE_SEQ: 21,
  REPAIR_OPTIONS: 22,
  FASTOPEN: 23,
  TIMESTAMP: 24,
  NOTSENT_LOWAT: 25,
  SAVE_SYN: 27,
  SAVED_SYN: 28,
  REPAIR_WINDOW: 29,
  FASTOPEN_CONNECT: 30,
  ULP: 31,
  FASTOPEN_NO_COOKIE: 34,
  INQ: 36,
  TX_DELAY: 37,
  AO_INFO: 40,
  AO_GET_KEYS: 41,
  AO_REPAIR: 42,
  IS_MPTCP: 43,
  RTO_MAX_MS: 44,
  RTO_MIN_US: 45,
  DELACK_MAX_US: 46,
} as const;

/** Values of {@link TCP}.REPAIR. */
export const REPAIR = {
  OFF: 0,
  ON: 1,
  /** Off, and no window probe is sent. */
  OFF_SILENT: -1,
} as const;

/** Values of {@link TCP}.REPAIR_QUEUE. */
export const REPAIR_QUEUE = { NONE: 0, RECEIVE: 1, SEND: 2 } as const;

/** Options both ends of a connection agreed on, as `struct tcp_info` and CRIU's images have them (`TCPI_OPT_*`). */
export const TCPI_OPT = { TIMESTAMPS: 1, SACK: 2, WSCALE: 4, ECN: 8 } as const;

/** Options in segments (include/net/tcp.h), as {@link TCP}.REPAIR_OPTIONS takes them. */
export const TCPOPT = { MSS: 2, WINDOW: 3, SACK_PERM: 4, TIMESTAMP: 8 } as const;

/** Options about multicast groups, of levels IPPROTO_IP and IPV6 (uapi/linux/in.h). */
export const MCAST = { JOIN_GROUP: 42, BLOCK_SOURCE: 43, JOIN_SOURCE_GROUP: 46, MSFILTER: 48 } as const;
/** Modes of a group's list of sources: all but them are heard, or only they. */
export const MCAST_MODE = { EXCLUDE: 0, INCLUDE: 1 } as const;

/** Options of level IPPROTO_UDP, and of UDPLITE (uapi/linux/udp.h). */
export const UDP = {
  CORK: 1,
  SEND_CSCOV: 10,
  RECV_CSCOV: 11,
  ENCAP: 100,
  NO_CHECK6_TX: 101,
  NO_CHECK6_RX: 102,
  SEGMENT: 103,
  GRO: 104,
} as const;

/** Which messages a raw socket of ICMP does not get; of level IPPROTO_RAW, or ICMPV6 (uapi/linux/icmp.h, icmpv6.h). */
export const ICMP_FILTER = 1;
