/**
 * Packet filters of nf_tables, through netlink (include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h). Requests are
 * collected in a {@link NftBatch}, which the kernel carries out as a whole or not at all.
 *
 *     using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
 *     socket.transact(new NftBatch().addTable('mine', { flags: NFT_TABLE.OWNER }).messages());
 *
 * All tables are of the family `inet`: for packets of IPv4 and IPv6.
 */
import { decodeText, encodeText } from '../../base/text.ts';
import { decodeAttributes, encodeAttributes } from './attributes.ts';
import { type NetlinkMessage, NLM_F } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

const SUBSYSTEM = 10; // NFNL_SUBSYS_NFTABLES
const MSG = { NEWTABLE: 0, GETTABLE: 1, DELTABLE: 2, NEWCHAIN: 3, NEWRULE: 6, NEWSET: 9, NEWSETELEM: 12, GETGEN: 16 };
const BATCH = { BEGIN: 0x10, END: 0x11 } as const;
const NFPROTO_INET = 1;
/** `struct nfgenmsg`: family, version, and a number in network order. */
const HEADER = 4;

/** Flags of a table (NFT_TABLE_F_*). */
export const NFT_TABLE = {
  /** Its chains see no packets. */
  DORMANT: 1,
  /** Since 5.12: it vanishes with the socket by which it was made, and nobody else can change it. */
  OWNER: 2,
} as const;

/** NF_INET_LOCAL_IN and NF_INET_LOCAL_OUT. */
export const NFT_HOOK = { INPUT: 1, OUTPUT: 3 } as const;

/** Types of the fields of a key as the program `nft` numbers them, which alone reads them, and their sizes in bytes. */
export const NFT_TYPE = {
  IPV4: { number: 7, size: 4 },
  IPV6: { number: 8, size: 16 },
  PORT: { number: 13, size: 2 },
} as const;

type Attribute = readonly [type: number, value: Uint8Array];
type Request = Omit<NetlinkMessage, 'sequence'>;

const NESTED = 0x8000;
const nested = (type: number, ...attributes: readonly Attribute[]): Attribute => {
  return [type | NESTED, encodeAttributes(attributes)];
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
    const attributes = [text(1, table), number(2, flags), ...(comment ? [[6, userData(comment)] as const] : [])];
    return this.#add(MSG.NEWTABLE, NLM_F.CREATE | NLM_F.EXCL, attributes);
  }

  /** Changes the flags of a table, of which only DORMANT can be changed. */
  setTable(table: string, flags: number): this {
    return this.#add(MSG.NEWTABLE, 0, [text(1, table), number(2, flags)]);
  }

  /** With all its chains. @throws (when it is sent) NetlinkError ENOENT if there is none */
  deleteTable(table: string): this {
    return this.#add(MSG.DELTABLE, 0, [text(1, table)]);
  }

  /** A chain of filters at a hook, with the priority of filters. */
  addChain(table: string, chain: string, hook: number): this {
    const where = nested(4, number(1, hook), number(2, 0));
    return this.#add(MSG.NEWCHAIN, NLM_F.CREATE, [text(1, table), text(3, chain), where, text(7, 'filter')]);
  }

  /** A rule at the end of a chain. */
  addRule(table: string, chain: string, expressions: readonly Expression[]): this {
    const list = nested(4, ...expressions);
    return this.#add(MSG.NEWRULE, NLM_F.CREATE | NLM_F.APPEND, [text(1, table), text(2, chain), list]);
  }

  /** A set whose keys are several fields, each of them padded to words of 32 bits. */
  addSet(table: string, set: string, fields: readonly (typeof NFT_TYPE)[keyof typeof NFT_TYPE][]): this {
    const type = fields.reduce((sum, field) => (sum << 6) | field.number, 0);
    const length = fields.reduce((sum, { size }) => sum + padded(size), 0);
    const descriptions = fields.map(({ size }) => nested(1, number(1, size)));
    return this.#add(MSG.NEWSET, NLM_F.CREATE, [
      text(1, table),
      text(2, set),
      number(3, CONCAT),
      number(4, type),
      number(5, length),
      nested(9, nested(2, ...descriptions)),
      number(10, ++this.#sets),
    ]);
  }

  /** Keys of a set, each in its whole length. */
  addKeys(table: string, set: string, keys: readonly Uint8Array[]): this {
    // The size of an attribute has 16 bits.
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      const elements = keys.slice(at, at + KEYS_AT_ONCE).map((key) => nested(1, nested(1, [1, key])));
      this.#add(MSG.NEWSETELEM, NLM_F.CREATE, [text(1, table), text(2, set), nested(3, ...elements)]);
    }
    return this;
  }

  /** The messages to be sent. */
  messages(): Request[] {
    const mark = (type: number): Request => {
      return { type, flags: NLM_F.REQUEST, payload: Uint8Array.of(0, 0, 0, SUBSYSTEM) };
    };
    return [mark(BATCH.BEGIN), ...this.#requests, mark(BATCH.END)];
  }

  #add(type: number, flags: number, attributes: readonly Attribute[]): this {
    this.#requests.push(request(type, flags, attributes));
    return this;
  }
}

const KEYS_AT_ONCE = 500;
/** NFT_SET_CONCAT. */
const CONCAT = 0x80;

function padded(size: number): number {
  return (size + 3) & ~3;
}

function request(type: number, flags: number, attributes: readonly Attribute[]): Request {
  const encoded = encodeAttributes(attributes);
  const payload = new Uint8Array(HEADER + encoded.length);
  payload[0] = NFPROTO_INET;
  payload.set(encoded, HEADER);
  return { type: (SUBSYSTEM << 8) | type, flags: flags | NLM_F.REQUEST, payload };
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
  const { type, payload } = request(MSG.GETTABLE, 0, []);
  return socket.list(type, payload).map((message) => {
    const attributes = decodeAttributes(message.payload.subarray(HEADER));
    const flags = attributes.get(2);
    const data = attributes.get(6);
    return {
      name: cut(attributes.get(1) ?? new Uint8Array()),
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
  const { type, payload } = request(MSG.GETGEN, 0, []);
  socket.request(type, payload);
}

/** The first register of 32 bits (NFT_REG32_00), in which a key begins. */
const REGISTER = 8;

const expression = (name: string, ...attributes: readonly Attribute[]): Expression => {
  return nested(1, text(1, name), nested(2, ...attributes));
};

/** Goes on with the rule if a property of the packet (NFT_META_*) has a value, in the order of the processor. */
export function metaIs(key: number, value: Uint8Array): Expression[] {
  return [
    expression('meta', number(1, REGISTER), number(2, key)),
    expression('cmp', number(1, REGISTER), number(2, 0), nested(3, [1, value])),
  ];
}

/** NFT_META_MARK, NFPROTO and L4PROTO. */
export const NFT_META = { MARK: 3, NFPROTO: 15, L4PROTO: 16 } as const;

/** A part of a packet: in the header of the network layer (1) or of the transport (2), from an offset on, in bytes. */
export interface PacketPart {
  readonly header: 1 | 2;
  readonly offset: number;
  readonly size: number;
}

/** Goes on with the rule if the parts of the packet together are a key of the set. */
export function isInSet(set: string, parts: readonly PacketPart[]): Expression[] {
  let register = REGISTER;
  const loads = parts.map(({ header, offset, size }) => {
    const load = expression('payload', number(1, register), number(2, header), number(3, offset), number(4, size));
    register += padded(size) / 4;
    return load;
  });
  return [...loads, expression('lookup', text(1, set), number(2, REGISTER))];
}

/** Ends the work of the chain on the packet: NF_DROP or NF_ACCEPT. */
export function verdict(code: 0 | 1): Expression {
  return expression('immediate', number(1, 0), nested(2, nested(2, number(1, code))));
}
