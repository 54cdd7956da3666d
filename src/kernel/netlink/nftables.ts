/**
 * Packet filters of nf_tables, through netlink (include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h). Requests are
 * collected in a {@link NftBatch}, which the kernel carries out as a whole or not at all.
 *
 *     using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
 *     socket.transact(new NftBatch().addTable('mine', { flags: NFT_TABLE_F.OWNER }).messages());
 *
 * All tables are of the family `inet`: for packets of IPv4 and IPv6.
 */
import { decodeText, encodeText } from '../../base/text.ts';
import { NLA_F_NESTED, NLM_F } from '../constants/netlink.ts';
import {
  type NF,
  NFNL_MSG_BATCH,
  NFNL_SUBSYS_NFTABLES,
  NFPROTO,
  NFT_CMP,
  NFT_MSG,
  type NFT_PAYLOAD,
  NFT_REG,
  NFT_SET_CONCAT,
  NFTA_CHAIN,
  NFTA_CMP,
  NFTA_DATA,
  NFTA_EXPR,
  NFTA_HOOK,
  NFTA_IMMEDIATE,
  NFTA_LIST,
  NFTA_LOOKUP,
  NFTA_META,
  NFTA_PAYLOAD,
  NFTA_RULE,
  NFTA_SET,
  NFTA_SET_DESC,
  NFTA_SET_ELEM,
  NFTA_SET_ELEM_LIST,
  NFTA_SET_FIELD,
  NFTA_TABLE,
  NFTA_VERDICT,
} from '../constants/nftables.ts';
import { Nfgenmsg } from '../layouts/netlink.ts';
import { decodeAttributes, encodeAttributes } from './attributes.ts';
import type { NetlinkMessage } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

const HEADER = Nfgenmsg.size;

/** Types of the fields of a key as the program `nft` numbers them, which alone reads them, and their sizes in bytes. */
export const NFT_TYPE = {
  IPV4: { number: 7, size: 4 },
  IPV6: { number: 8, size: 16 },
  PORT: { number: 13, size: 2 },
} as const;

type Attribute = readonly [type: number, value: Uint8Array];
type Request = Omit<NetlinkMessage, 'sequence'>;

const nested = (type: number, ...attributes: readonly Attribute[]): Attribute => {
  return [type | NLA_F_NESTED, encodeAttributes(attributes)];
};
const text = (type: number, value: string): Attribute => [type, encodeText(`${value}\0`)];
/** Numbers of nf_tables are in network order. */
const number = (type: number, value: number): Attribute => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return [type, bytes];
};

/** What a table is told to be. */
export interface TableTraits {
  readonly flags?: number;
  /** What `nft` shows as its comment. */
  readonly comment?: string;
}

/** An expression of a rule. */
export type Expression = Attribute;

/** Requests that are carried out as a whole. */
export class NftBatch {
  readonly #requests: Request[] = [];
  #sets = 0;

  /** @throws (when it is sent) NetlinkError EEXIST if there is a table of that name */
  addTable(table: string, { flags = 0, comment }: TableTraits): this {
    const attributes = [
      ...tableFlags(table, flags),
      ...(comment ? [[NFTA_TABLE.USERDATA, userData(comment)] as const] : []),
    ];
    return this.#add(NFT_MSG.NEWTABLE, NLM_F.CREATE | NLM_F.EXCL, attributes);
  }

  /** Changes the flags of a table, of which only DORMANT can be changed. */
  setTable(table: string, flags: number): this {
    return this.#add(NFT_MSG.NEWTABLE, 0, tableFlags(table, flags));
  }

  /** With all its chains. @throws (when it is sent) NetlinkError ENOENT if there is none */
  deleteTable(table: string): this {
    return this.#add(NFT_MSG.DELTABLE, 0, [text(NFTA_TABLE.NAME, table)]);
  }

  /** A chain of filters at a hook, with the priority of filters. */
  addChain(table: string, chain: string, hook: number): this {
    return this.#add(NFT_MSG.NEWCHAIN, NLM_F.CREATE, [
      text(NFTA_CHAIN.TABLE, table),
      text(NFTA_CHAIN.NAME, chain),
      nested(NFTA_CHAIN.HOOK, number(NFTA_HOOK.HOOKNUM, hook), number(NFTA_HOOK.PRIORITY, 0)),
      text(NFTA_CHAIN.TYPE, 'filter'),
    ]);
  }

  /** A rule at the end of a chain. */
  addRule(table: string, chain: string, expressions: readonly Expression[]): this {
    return this.#add(NFT_MSG.NEWRULE, NLM_F.CREATE | NLM_F.APPEND, [
      text(NFTA_RULE.TABLE, table),
      text(NFTA_RULE.CHAIN, chain),
      nested(NFTA_RULE.EXPRESSIONS, ...expressions),
    ]);
  }

  /** A set whose keys are several fields, each of them padded to words of 32 bits. */
  addSet(table: string, set: string, fields: readonly (typeof NFT_TYPE)[keyof typeof NFT_TYPE][]): this {
    const type = fields.reduce((sum, field) => (sum << 6) | field.number, 0);
    const length = fields.reduce((sum, { size }) => sum + padded(size), 0);
    const descriptions = fields.map(({ size }) => nested(NFTA_LIST.ELEM, number(NFTA_SET_FIELD.LEN, size)));
    return this.#add(NFT_MSG.NEWSET, NLM_F.CREATE, [
      text(NFTA_SET.TABLE, table),
      text(NFTA_SET.NAME, set),
      number(NFTA_SET.FLAGS, NFT_SET_CONCAT),
      number(NFTA_SET.KEY_TYPE, type),
      number(NFTA_SET.KEY_LEN, length),
      nested(NFTA_SET.DESC, nested(NFTA_SET_DESC.CONCAT, ...descriptions)),
      number(NFTA_SET.ID, ++this.#sets),
    ]);
  }

  /** Keys of a set, each in its whole length. */
  addKeys(table: string, set: string, keys: readonly Uint8Array[]): this {
    // The size of an attribute has 16 bits.
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      const elements = keys.slice(at, at + KEYS_AT_ONCE).map((key) => {
        return nested(NFTA_LIST.ELEM, nested(NFTA_SET_ELEM.KEY, [NFTA_DATA.VALUE, key]));
      });
      this.#add(NFT_MSG.NEWSETELEM, NLM_F.CREATE, [
        text(NFTA_SET_ELEM_LIST.TABLE, table),
        text(NFTA_SET_ELEM_LIST.SET, set),
        nested(NFTA_SET_ELEM_LIST.ELEMENTS, ...elements),
      ]);
    }
    return this;
  }

  /** The messages to be sent. */
  messages(): Request[] {
    const mark = (type: number): Request => {
      return {
        type,
        flags: NLM_F.REQUEST,
        payload: Nfgenmsg.encode({ resource: Uint8Array.of(0, NFNL_SUBSYS_NFTABLES) }),
      };
    };
    return [mark(NFNL_MSG_BATCH.BEGIN), ...this.#requests, mark(NFNL_MSG_BATCH.END)];
  }

  #add(type: number, flags: number, attributes: readonly Attribute[]): this {
    this.#requests.push(request(type, flags, attributes));
    return this;
  }
}

const KEYS_AT_ONCE = 500;

function tableFlags(table: string, flags: number): Attribute[] {
  return [text(NFTA_TABLE.NAME, table), number(NFTA_TABLE.FLAGS, flags)];
}

function padded(size: number): number {
  return (size + 3) & ~3;
}

function request(type: number, flags: number, attributes: readonly Attribute[]): Request {
  const encoded = encodeAttributes(attributes);
  const payload = new Uint8Array(HEADER + encoded.length);
  Nfgenmsg.encodeInto(payload, 0, { family: NFPROTO.INET });
  payload.set(encoded, HEADER);
  return { type: (NFNL_SUBSYS_NFTABLES << 8) | type, flags: flags | NLM_F.REQUEST, payload };
}

/** A comment as libnftnl stores it: a type (NFTNL_UDATA_TABLE_COMMENT), a length, and the text. */
function userData(comment: string): Uint8Array {
  const bytes = encodeText(`${comment}\0`);
  return Uint8Array.of(0, bytes.length, ...bytes);
}

/** A table that is there. */
export interface NftTable {
  readonly name: string;
  readonly flags: number;
  readonly comment: string | undefined;
}

/** All tables of the family. @throws NetlinkError */
export function listTables(socket: NetlinkSocket): NftTable[] {
  const { type, payload } = request(NFT_MSG.GETTABLE, 0, []);
  return socket.list(type, payload).map((message) => {
    const attributes = decodeAttributes(message.payload.subarray(HEADER));
    const flags = attributes.get(NFTA_TABLE.FLAGS);
    const data = attributes.get(NFTA_TABLE.USERDATA);
    return {
      name: cut(attributes.get(NFTA_TABLE.NAME) ?? new Uint8Array()),
      flags: flags ? new DataView(flags.buffer, flags.byteOffset).getUint32(0) : 0,
      comment: data && data.length > 2 && data[0] === 0 ? cut(data.subarray(2)) : undefined,
    };
  });
}

function cut(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Whether nf_tables is there and may be used: asks which generation of rules is in force. @throws NetlinkError */
export function probeNftables(socket: NetlinkSocket): void {
  const { type, payload } = request(NFT_MSG.GETGEN, 0, []);
  socket.request(type, payload);
}

/** The register in which a key begins. */
const REGISTER = NFT_REG['32_00'];

const expression = (name: string, ...attributes: readonly Attribute[]): Expression => {
  return nested(NFTA_LIST.ELEM, text(NFTA_EXPR.NAME, name), nested(NFTA_EXPR.DATA, ...attributes));
};

/** Goes on with the rule if a property of the packet (NFT_META_*) has a value, in the order of the processor. */
export function metaIs(key: number, value: Uint8Array): Expression[] {
  return [
    expression('meta', number(NFTA_META.DREG, REGISTER), number(NFTA_META.KEY, key)),
    expression(
      'cmp',
      number(NFTA_CMP.SREG, REGISTER),
      number(NFTA_CMP.OP, NFT_CMP.EQ),
      nested(NFTA_CMP.DATA, [NFTA_DATA.VALUE, value]),
    ),
  ];
}

/** A part of a packet: in one of its headers (NFT_PAYLOAD_*), from an offset on, in bytes. */
export interface PacketPart {
  readonly header: (typeof NFT_PAYLOAD)[keyof typeof NFT_PAYLOAD];
  readonly offset: number;
  readonly size: number;
}

/** Goes on with the rule if the parts of the packet together are a key of the set. */
export function isInSet(set: string, parts: readonly PacketPart[]): Expression[] {
  let register = REGISTER;
  const loads = parts.map(({ header, offset, size }) => {
    const load = expression(
      'payload',
      number(NFTA_PAYLOAD.DREG, register),
      number(NFTA_PAYLOAD.BASE, header),
      number(NFTA_PAYLOAD.OFFSET, offset),
      number(NFTA_PAYLOAD.LEN, size),
    );
    register += padded(size) / 4;
    return load;
  });
  return [...loads, expression('lookup', text(NFTA_LOOKUP.SET, set), number(NFTA_LOOKUP.SREG, REGISTER))];
}

/** Ends the work of the chain on the packet (NF_*). */
export function verdict(code: (typeof NF)[keyof typeof NF]): Expression {
  const data = nested(NFTA_DATA.VERDICT, number(NFTA_VERDICT.CODE, code));
  return expression('immediate', number(NFTA_IMMEDIATE.DREG, NFT_REG.VERDICT), nested(NFTA_IMMEDIATE.DATA, data));
}
