/** nf_tables (include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h, netfilter.h). */

/** The subsystem: the upper byte of the types of messages. */
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFT_MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  NEWRULE: 6,
  GETRULE: 7,
  NEWSET: 9,
  GETSET: 10,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  GETGEN: 16,
  NEWOBJ: 18,
  GETOBJ: 19,
  NEWFLOWTABLE: 22,
  GETFLOWTABLE: 23,
} as const;
/** Messages around those that are carried out as a whole. */
export const NFNL_MSG_BATCH = { BEGIN: 0x10, END: 0x11 } as const;

/** Families of tables: INET is for packets of IPv4 and IPv6. */
export const NFPROTO = { INET: 1 } as const;
/** Hooks for chains, and verdicts on packets. */
export const NF_INET = { LOCAL_IN: 1, LOCAL_OUT: 3 } as const;
export const NF = { DROP: 0, ACCEPT: 1 } as const;

/** Flags of a table. */
export const NFT_TABLE_F = {
  /** Its chains see no packets. */
  DORMANT: 1,
  /** Since 5.12: it vanishes with the socket by which it was made, and nobody else can change it. */
  OWNER: 2,
} as const;

/** Flag of a set: its keys are several fields. */
export const NFT_SET_CONCAT = 0x80;

/** Properties of a packet. */
export const NFT_META = { MARK: 3, NFPROTO: 15, L4PROTO: 16 } as const;
/** Parts of a packet. */
export const NFT_PAYLOAD = { NETWORK_HEADER: 1, TRANSPORT_HEADER: 2 } as const;
/** Comparisons. */
export const NFT_CMP = { EQ: 0 } as const;
/** Where expressions leave values: the verdict, and the first register of 32 bits. */
export const NFT_REG = { VERDICT: 0, '32_00': 8 } as const;

/** Attributes. */
export const NFTA_LIST = { ELEM: 1 } as const;
export const NFTA_TABLE = { NAME: 1, FLAGS: 2, USE: 3, HANDLE: 4, USERDATA: 6, OWNER: 7 } as const;
export const NFTA_CHAIN = { TABLE: 1, HANDLE: 2, NAME: 3, HOOK: 4, USE: 6, TYPE: 7 } as const;
export const NFTA_HOOK = { HOOKNUM: 1, PRIORITY: 2 } as const;
export const NFTA_RULE = { TABLE: 1, CHAIN: 2, HANDLE: 3, EXPRESSIONS: 4, POSITION: 6 } as const;
export const NFTA_SET = {
  TABLE: 1,
  NAME: 2,
  FLAGS: 3,
  KEY_TYPE: 4,
  KEY_LEN: 5,
  DESC: 9,
  ID: 10,
  HANDLE: 16,
  TYPE: 19,
  COUNT: 20,
} as const;
export const NFTA_OBJ = { USE: 5, HANDLE: 6 } as const;
export const NFTA_FLOWTABLE = { USE: 4, HANDLE: 5 } as const;
export const NFTA_SET_DESC = { CONCAT: 2 } as const;
export const NFTA_SET_FIELD = { LEN: 1 } as const;
export const NFTA_SET_ELEM_LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
export const NFTA_SET_ELEM = { KEY: 1 } as const;
export const NFTA_EXPR = { NAME: 1, DATA: 2 } as const;
export const NFTA_META = { DREG: 1, KEY: 2 } as const;
export const NFTA_CMP = { SREG: 1, OP: 2, DATA: 3 } as const;
export const NFTA_PAYLOAD = { DREG: 1, BASE: 2, OFFSET: 3, LEN: 4 } as const;
export const NFTA_LOOKUP = { SET: 1, SREG: 2 } as const;
export const NFTA_IMMEDIATE = { DREG: 1, DATA: 2 } as const;
export const NFTA_DATA = { VALUE: 1, VERDICT: 2 } as const;
export const NFTA_VERDICT = { CODE: 1 } as const;
