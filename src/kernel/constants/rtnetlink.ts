/**
 * Constants of rtnetlink (include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h, nexthop.h,
 * net_namespace.h, veth.h, pkt_sched.h, fib_rules.h, if.h, if_arp.h).
 */

/** Types of messages. */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  GETNEIGH: 30,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
  GETQDISC: 38,
  GETNEIGHTBL: 66,
  NEWNSID: 88,
  GETNSID: 90,
  NEWNEXTHOP: 104,
  GETNEXTHOP: 106,
  NEWLINKPROP: 108,
} as const;

/** Attributes of a link. */
export const IFLA = {
  ADDRESS: 1,
  BROADCAST: 2,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  TXQLEN: 13,
  LINKMODE: 17,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  LINK_NETNSID: 37,
  GSO_MAX_SEGS: 40,
  GSO_MAX_SIZE: 41,
  XDP: 43,
  NEW_IFINDEX: 49,
  PROP_LIST: 52,
  ALT_IFNAME: 53,
  GRO_MAX_SIZE: 58,
  GSO_IPV4_MAX_SIZE: 63,
  GRO_IPV4_MAX_SIZE: 64,
} as const;

/** Attributes inside of IFLA.LINKINFO. */
export const IFLA_INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;

/** In IFLA.AF_SPEC, below AF_INET and AF_INET6: the settings of the link. */
export const IFLA_INET_CONF = 1;
export const IFLA_INET6_CONF = 2;

/** The settings of neighbours of a link, and attributes in there. */
export const NDTA_PARMS = 6;
export const NDTPA = { IFINDEX: 1, REFCNT: 2, REACHABLE_TIME: 3 } as const;

/** In IFLA.AF_SPEC, below AF_INET6: how a link gets its first address. */
export const IFLA_INET6_ADDR_GEN_MODE = 8;

/** In the data of a veth device: a link message for the other end. */
export const VETH_INFO_PEER = 1;

/** In IFLA.XDP: whether a program is attached (XDP_ATTACHED_*). */
export const IFLA_XDP_ATTACHED = 2;

/** How a link gets its link-local address. */
export const IN6_ADDR_GEN_MODE = { EUI64: 0, NONE: 1 } as const;

/** Attributes in the data of some kinds of links. */
export const IFLA_BR = { VLAN_FILTERING: 7, MULTI_BOOLOPT: 46 } as const;
export const IFLA_VXLAN = { LINK: 3, REMCSUM_TX: 21, REMCSUM_RX: 22, TTL_INHERIT: 28 } as const;
export const IFLA_MACVLAN = { MODE: 1, FLAGS: 2 } as const;
export const IFLA_TUN = { OWNER: 1, GROUP: 2, TYPE: 3, PI: 4, VNET_HDR: 5, PERSIST: 6, MULTI_QUEUE: 7 } as const;
/** The mode of a bond, its values, and those of its delays and intervals that depend on one another. */
export const IFLA_BOND = {
  MODE: 1,
  MIIMON: 3,
  UPDELAY: 4,
  DOWNDELAY: 5,
  ARP_INTERVAL: 7,
  ARP_VALIDATE: 9,
  PEER_NOTIF_DELAY: 28,
} as const;
export const BOND_MODE = { ROUNDROBIN: 0, '8023AD': 4, TLB: 5, ALB: 6 } as const;

/** Flags of a device that users set; the kernel sets the others. */
export const IFF_LINK = {
  UP: 0x1,
  DEBUG: 0x4,
  NOTRAILERS: 0x20,
  NOARP: 0x80,
  PROMISC: 0x100,
  ALLMULTI: 0x200,
  MULTICAST: 0x1000,
  PORTSEL: 0x2000,
  AUTOMEDIA: 0x4000,
  DYNAMIC: 0x8000,
} as const;

/** Hardware types of devices (ARPHRD_*). */
export const ARPHRD = { ETHER: 1, LOOPBACK: 772 } as const;

export const IFA = { ADDRESS: 1, LOCAL: 2, CACHEINFO: 6 } as const;
/** A flag of an address of IPv6: it is not used before the kernel has found that nobody else has it. */
export const IFA_F_TENTATIVE = 0x40;

export const RTA = {
  OIF: 4,
  GATEWAY: 5,
  MULTIPATH: 9,
  CACHEINFO: 12,
  VIA: 18,
  ENCAP_TYPE: 21,
  ENCAP: 22,
  EXPIRES: 23,
  NH_ID: 30,
} as const;
/** Flags of a nexthop. All but ONLINK tell of its state, and no request may have them. */
export const RTNH_F = { DEAD: 0x1, ONLINK: 0x4, OFFLOAD: 0x8, LINKDOWN: 0x10, UNRESOLVED: 0x20, TRAP: 0x40 } as const;
/** Flags of a route, beside those of its nexthop; these tell of its state. */
export const RTM_F = { CLONED: 0x200, OFFLOAD: 0x4000, TRAP: 0x8000 } as const;
export const RT_TABLE = { LOCAL: 255 } as const;
/** Origins of routes, rules and nexthops. */
export const RTPROT = { KERNEL: 2 } as const;

export const NDA = { DST: 1, LLADDR: 2, CACHEINFO: 3, PROBES: 4, MASTER: 9 } as const;
/** States of a neighbour. */
export const NUD = { NOARP: 0x40, PERMANENT: 0x80 } as const;
/** Flags of a neighbour. */
export const NTF = { SELF: 0x02, MASTER: 0x04, PROXY: 0x08, EXT_LEARNED: 0x10 } as const;

/** The last four are only in answers. */
export const NHA = { GROUP: 2, OP_FLAGS: 14, GROUP_STATS: 15, HW_STATS_ENABLE: 16, HW_STATS_USED: 17 } as const;

export const NETNSA = { NSID: 1, PID: 2, FD: 3 } as const;

export const TCA = { KIND: 1 } as const;
