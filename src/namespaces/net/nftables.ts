/**
 * The packet filters of nf_tables as the kernel tells them: tables, chains, sets, objects, flow tables and rules. They
 * are kept as messages, so nothing of them has to be understood, and the program `nft` is not needed to make them
 * again. Counters go on from where they were.
 */
import { NETLINK, NLM_F } from '../../kernel/constants/netlink.ts';
import {
  NFNL_MSG_BATCH,
  NFNL_SUBSYS_NFTABLES,
  NFT_MSG,
  NFT_TABLE_F,
  NFTA_CHAIN,
  NFTA_FLOWTABLE,
  NFTA_OBJ,
  NFTA_RULE,
  NFTA_SET,
  NFTA_SET_ELEM_LIST,
  NFTA_TABLE,
} from '../../kernel/constants/nftables.ts';
import { Nfgenmsg } from '../../kernel/layouts/netlink.ts';
import { encodeAttributes } from '../../kernel/netlink/attributes.ts';
import type { NetlinkMessage } from '../../kernel/netlink/message.ts';
import { attributesOf, textOf, withoutAttributes } from '../../kernel/netlink/rtnetlink.ts';
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts';
import { ERRNO } from '../../kernel/syscall.ts';
import { isLockTable } from './filter-texts.ts';

/** All there is, in an order in which it can be made again. */
export type Ruleset = readonly NetlinkMessage[];

const messageType = (type: number): number => (NFNL_SUBSYS_NFTABLES << 8) | type;

function numberOf(value: Uint8Array | undefined): number {
  return value && value.length >= 4 ? new DataView(value.buffer, value.byteOffset).getUint32(0) : 0;
}

/** The flags of a table (NFT_TABLE_F_*). */
export function tableFlagsOf({ payload }: NetlinkMessage): number {
  return numberOf(attributesOf(Nfgenmsg, payload).get(NFTA_TABLE.FLAGS));
}

/** The name of the table that something is, or is in: the first attribute of all messages. */
export function tableNameOf({ payload }: NetlinkMessage): string {
  return textOf(attributesOf(Nfgenmsg, payload).get(NFTA_TABLE.NAME)) ?? '';
}

/**
 * All packet filters of a network namespace, from inside of it. Tables that end with the process that made them
 * (NFT_TABLE_F_OWNER) are among them. Empty if the kernel has no nf_tables. @throws NetlinkError
 */
export function readRuleset(): Ruleset {
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
  const all = (type: number, payload = Nfgenmsg.encode({})): NetlinkMessage[] =>
    socket.list(messageType(type), payload);
  let tables: readonly NetlinkMessage[];
  try {
    tables = all(NFT_MSG.GETTABLE);
  } catch (error) {
    if (error instanceof NetlinkError && NO_NFTABLES.has(error.errno)) return [];
    throw error;
  }
  if (tables.length === 0) return [];
  const sets = all(NFT_MSG.GETSET);
  const elements = sets.flatMap(({ payload }) => {
    const attributes = attributesOf(Nfgenmsg, payload);
    const request = encodeAttributes([
      [NFTA_SET_ELEM_LIST.TABLE, attributes.get(NFTA_SET.TABLE) ?? new Uint8Array()],
      [NFTA_SET_ELEM_LIST.SET, attributes.get(NFTA_SET.NAME) ?? new Uint8Array()],
    ]);
    return all(NFT_MSG.GETSETELEM, joined(payload.subarray(0, Nfgenmsg.size), request));
  });
  const [chains, objects, rules] = [all(NFT_MSG.GETCHAIN), all(NFT_MSG.GETOBJ), all(NFT_MSG.GETRULE)];
  return [...tables, ...chains, ...objects, ...flowtables(all), ...sets, ...elements, ...rules];
}

/** Since 4.16. */
function flowtables(all: (type: number) => NetlinkMessage[]): NetlinkMessage[] {
  try {
    return all(NFT_MSG.GETFLOWTABLE);
  } catch (error) {
    if (error instanceof NetlinkError && NO_NFTABLES.has(error.errno)) return [];
    throw error;
  }
}

const NO_NFTABLES: ReadonlySet<number> = new Set([ERRNO.EINVAL, ERRNO.EOPNOTSUPP]);

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** What only answers have: numbers the kernel gives, and how often something is used. */
const STATE: ReadonlyMap<number, ReadonlySet<number>> = new Map<number, ReadonlySet<number>>([
  [NFT_MSG.NEWTABLE, new Set([NFTA_TABLE.USE, NFTA_TABLE.HANDLE, NFTA_TABLE.OWNER])],
  [NFT_MSG.NEWCHAIN, new Set([NFTA_CHAIN.HANDLE, NFTA_CHAIN.USE])],
  [NFT_MSG.NEWOBJ, new Set([NFTA_OBJ.USE, NFTA_OBJ.HANDLE])],
  [NFT_MSG.NEWFLOWTABLE, new Set([NFTA_FLOWTABLE.USE, NFTA_FLOWTABLE.HANDLE])],
  [NFT_MSG.NEWSET, new Set([NFTA_SET.ID, NFTA_SET.HANDLE, NFTA_SET.TYPE, NFTA_SET.COUNT])],
  [NFT_MSG.NEWSETELEM, new Set<number>()],
  [NFT_MSG.NEWRULE, new Set([NFTA_RULE.HANDLE, NFTA_RULE.POSITION])],
]);

type Request = Omit<NetlinkMessage, 'sequence'>;

/**
 * The requests that make a ruleset again, as a whole. Tables that belong to a process, and those that lock the network
 * for a dump, are left out. Pure.
 */
export function rulesetRequests(ruleset: Ruleset): Request[] {
  const owned = new Set(ruleset.filter((one) => isOwned(one) || isLockTable(tableNameOf(one))).map(placeOf));
  let sets = 0;
  const requests = ruleset.flatMap((message): Request[] => {
    const type = message.type & 0xff;
    const state = STATE.get(type);
    if (!state || owned.has(placeOf(message))) return [];
    const kept = withoutAttributes(Nfgenmsg, message.payload, state);
    // A set without a number of its own is refused (nf_tables_newset() in net/netfilter/nf_tables_api.c).
    const payload = type === NFT_MSG.NEWSET ? joined(kept, encodeAttributes([setNumber(++sets)])) : kept;
    return [{ type: messageType(type), flags: NLM_F.REQUEST | NLM_F.CREATE | NLM_F.APPEND, payload }];
  });
  return requests.length === 0 ? [] : inOne(requests);
}

/** Has requests carried out as a whole. */
function inOne(requests: readonly Request[]): Request[] {
  const payload = Nfgenmsg.encode({ resource: Uint8Array.of(0, NFNL_SUBSYS_NFTABLES) });
  const mark = (type: number): Request => ({ type, flags: NLM_F.REQUEST, payload });
  return [mark(NFNL_MSG_BATCH.BEGIN), ...requests, mark(NFNL_MSG_BATCH.END)];
}

function isOwned(message: NetlinkMessage): boolean {
  return (message.type & 0xff) === NFT_MSG.NEWTABLE && (tableFlagsOf(message) & NFT_TABLE_F.OWNER) !== 0;
}

/**
 * The names of the tables that belong to a socket of a process, but for those that lock the network for a dump. Pure.
 */
export function ownedTables(ruleset: Ruleset): string[] {
  return ruleset
    .filter(isOwned)
    .map(tableNameOf)
    .filter((name) => !isLockTable(name));
}

/** The family and the name of the table. */
function placeOf(message: NetlinkMessage): string {
  return `${message.payload[0]} ${tableNameOf(message)}`;
}

function setNumber(id: number): readonly [number, Uint8Array] {
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, id);
  return [NFTA_SET.ID, value];
}

/** Makes a ruleset again, all of it or nothing, from inside of the namespace. @throws NetlinkError */
export function writeRuleset(ruleset: Ruleset): void {
  const requests = rulesetRequests(ruleset);
  if (requests.length === 0) return;
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
  socket.transact(requests);
}

/** Removes all tables of all families, from inside of the namespace. @throws NetlinkError */
export function eraseRuleset(): void {
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
  // A request that names no table is about all of them (nf_tables_deltable() in net/netfilter/nf_tables_api.c).
  socket.transact(inOne([{ type: messageType(NFT_MSG.DELTABLE), flags: NLM_F.REQUEST, payload: Nfgenmsg.encode({}) }]));
}
