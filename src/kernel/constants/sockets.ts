/**
 * Socket constants (include/linux/socket.h, net.h, uapi/asm-generic/socket.h, net/tcp_states.h). What differs
 * between architectures comes from arch/.
 */
import { O, SO as OWN_SO, TTY_IOCTL } from '../../arch/numbers.ts';

export const AF = { UNIX: 1, INET: 2, BRIDGE: 7, INET6: 10, NETLINK: 16, PACKET: 17, VSOCK: 40 } as const;

export const SOCK = {
  STREAM: 1,
  DGRAM: 2,
  RAW: 3,
  SEQPACKET: 5,
  /** The old kind of packet socket. */
  PACKET: 10,
  CLOEXEC: O.CLOEXEC,
  NONBLOCK: O.NONBLOCK,
} as const;

export const SOL_SOCKET = 1;

/** Options of level SOL_SOCKET. */
export const SO = {
  ...OWN_SO,
  REUSEADDR: 2,
  TYPE: 3,
  ERROR: 4,
  DONTROUTE: 5,
  BROADCAST: 6,
  SNDBUF: 7,
  RCVBUF: 8,
  KEEPALIVE: 9,
  OOBINLINE: 10,
  NO_CHECK: 11,
  PRIORITY: 12,
  LINGER: 13,
  REUSEPORT: 15,
  BINDTODEVICE: 25,
  /** As an option that is read, SO_GET_FILTER. */
  ATTACH_FILTER: 26,
  DETACH_FILTER: 27,
  /** As getpeername(2), also of a connection that has ended. */
  PEERNAME: 28,
  TIMESTAMP: 29,
  ACCEPTCONN: 30,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
  PASSSEC: 34,
  TIMESTAMPNS: 35,
  MARK: 36,
  PROTOCOL: 38,
  DOMAIN: 39,
  TIMESTAMPING: 37,
  RXQ_OVFL: 40,
  WIFI_STATUS: 41,
  PEEK_OFF: 42,
  NOFCS: 43,
  LOCK_FILTER: 44,
  SELECT_ERR_QUEUE: 45,
  BUSY_POLL: 46,
  MAX_PACING_RATE: 47,
  INCOMING_CPU: 49,
  /** Memory of the queues, as numbers of 32 bits: the first is what the receive queue takes. */
  MEMINFO: 55,
  /** The groups of the peer of a unix socket, 4 bytes each. */
  PEERGROUPS: 59,
  ZEROCOPY: 60,
  TXTIME: 61,
  /** Of programs whose time has 64 bits on machines of 32; others may ask for them. */
  TIMESTAMP_NEW: 63,
  TIMESTAMPNS_NEW: 64,
  TIMESTAMPING_NEW: 65,
  PREFER_BUSY_POLL: 69,
  BUSY_POLL_BUDGET: 70,
  /** Of the network namespace of the socket: a number that no other has had since the machine runs. */
  NETNS_COOKIE: 71,
  BUF_LOCK: 72,
  RESERVE_MEM: 73,
  TXREHASH: 74,
  RCVMARK: 75,
  PASSPIDFD: 76,
  RCVPRIORITY: 82,
  PASSRIGHTS: 83,
} as const;

export const SHUT = { RD: 0, WR: 1, RDWR: 2 } as const;

export const MSG = {
  OOB: 0x1,
  PEEK: 0x2,
  CTRUNC: 0x8,
  TRUNC: 0x20,
  DONTWAIT: 0x40,
  NOSIGNAL: 0x4000,
  MORE: 0x8000,
  CMSG_CLOEXEC: 0x4000_0000,
} as const;

/** Control messages of level SOL_SOCKET. */
export const SCM = { RIGHTS: 1, CREDENTIALS: 2, PIDFD: 4 } as const;

/** Most descriptors one SCM_RIGHTS message carries. */
export const SCM_MAX_FD = 253;

/** ioctl of unix sockets: a descriptor (O_PATH) for the file a socket is bound to (uapi/linux/un.h, since 4.10). */
export const SIOCUNIXFILE = 0x89e0;

/** Longest name of a unix socket, in bytes. */
export const UNIX_PATH_MAX = 108;

/** Most connections that may wait in a listening socket (`net.core.somaxconn`, by default). */
export const SOMAXCONN = 4096;

/** States of TCP, some of which sockets of other families have too (include/net/tcp_states.h). */
export const TCP_STATE = {
  ESTABLISHED: 1,
  SYN_SENT: 2,
  SYN_RECV: 3,
  FIN_WAIT1: 4,
  FIN_WAIT2: 5,
  TIME_WAIT: 6,
  CLOSE: 7,
  CLOSE_WAIT: 8,
  LAST_ACK: 9,
  LISTEN: 10,
  CLOSING: 11,
  /** Of requests for connections, inside of the kernel: everybody sees SYN_RECV. */
  NEW_SYN_RECV: 12,
} as const;

/** Protocols of IP (uapi/linux/in.h); also the levels of their options. */
export const IPPROTO = {
  IP: 0,
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  ICMPV6: 58,
  SCTP: 132,
  UDPLITE: 136,
  RAW: 255,
  MPTCP: 262,
} as const;

/** Level of the options of packet sockets, and these (include/linux/socket.h, uapi/linux/if_packet.h). */
export const SOL_PACKET = 263;
export const PACKET = {
  ADD_MEMBERSHIP: 1,
  RX_RING: 5,
  COPY_THRESH: 7,
  AUXDATA: 8,
  ORIGDEV: 9,
  VERSION: 10,
  RESERVE: 12,
  TX_RING: 13,
  LOSS: 14,
  VNET_HDR: 15,
  TIMESTAMP: 17,
  FANOUT: 18,
  TX_HAS_OFF: 19,
  QDISC_BYPASS: 20,
  IGNORE_OUTGOING: 23,
  VNET_HDR_SZ: 24,
} as const;
/** Ways of {@link PACKET}.FANOUT in which a program chooses who gets a packet. */
export const PACKET_FANOUT = { CBPF: 6, EBPF: 7 } as const;

/** ioctl(2) of any socket, about network devices (uapi/linux/sockios.h). */
export const SIOCGIFNAME = 0x8910;
export const SIOCSIFFLAGS = 0x8914;
export const SIOCGIFINDEX = 0x8933;
/** A descriptor for the network namespace of a socket, or of a tun or tap device. */
export const SIOCGSKNS = 0x894c;
/** Size of the name of a network device, with its NUL. */
export const IFNAMSIZ = 16;
/** Flag of a network device (uapi/linux/if.h). */
export const IFF_UP = 1;

/** ioctl(2) of a stream: unread bytes; bytes that are not acknowledged; those of them that have not been sent. */
export const SIOCINQ = TTY_IOCTL.FIONREAD;
export const SIOCOUTQ = TTY_IOCTL.TIOCOUTQ;
export const SIOCOUTQNSD = 0x894b;

/** The mark of packets that pass the network lock, which is CRIU's. */
export const LOCK_MARK = 0xc114;
