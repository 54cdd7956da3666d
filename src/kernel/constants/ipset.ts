/** IP sets (include/uapi/linux/netfilter/ipset/ip_set.h, nfnetlink.h). */

/** The subsystem: the upper byte of the types of messages. */
export const NFNL_SUBSYS_IPSET = 6;
/** The version of the protocol, which each request tells. */
export const IPSET_PROTOCOL = 7;
export const IPSET_CMD = { LIST: 7 } as const;
export const IPSET_ATTR = { PROTOCOL: 1, SETNAME: 2 } as const;
