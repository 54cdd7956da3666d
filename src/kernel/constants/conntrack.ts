/** Connection tracking (include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_tcp.h, nfnetlink.h). */

/** The subsystems: the upper byte of the types of messages. */
export const NFNL_SUBSYS_CTNETLINK = 1;
export const NFNL_SUBSYS_CTNETLINK_EXP = 2;
/** Messages about connections; those about expectations have the same numbers. */
export const IPCTNL_MSG_CT = { NEW: 0, GET: 1 } as const;

/** Attributes. */
export const CTA = { PROTOINFO: 4 } as const;
export const CTA_PROTOINFO = { TCP: 1 } as const;
export const CTA_PROTOINFO_TCP = { FLAGS_ORIGINAL: 4, FLAGS_REPLY: 5 } as const;

/** Sequence numbers are not checked. */
export const IP_CT_TCP_FLAG_BE_LIBERAL = 0x08;
