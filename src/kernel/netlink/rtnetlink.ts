/**
 * Messages of rtnetlink: links, addresses, routes, rules, neighbours, queueing disciplines. Each is a struct
 * (layouts/rtnetlink.ts) and attributes. Pure.
 */
import { decodeText } from '../../base/text.ts';
import { NLA_TYPE_MASK } from '../constants/netlink.ts';
import { Nlattr } from '../layouts/netlink.ts';
import type { Struct } from '../layouts/struct.ts';
import { type Attributes, decodeAttributes, u32sOf, withAttributes } from './attributes.ts';
import { align4 } from './message.ts';

/** The payload of a message: a header and attributes. */
export function payloadOf<T>(header: Struct<T>, values: Partial<T>, attributes: Attributes = []): Uint8Array {
  return withAttributes(header.encode(values), attributes);
}

/** The attributes behind the header of a payload, by type. */
export function attributesOf<T>(header: Struct<T>, payload: Uint8Array): Map<number, Uint8Array> {
  return decodeAttributes(payload.subarray(header.size));
}

/** The value of an attribute that is one 32-bit number; undefined if it is absent or too short. */
export function u32Of(value: Uint8Array | undefined): number | undefined {
  return value && u32sOf(value)[0];
}

/** As {@link u32Of}, signed. */
export function i32Of(value: Uint8Array | undefined): number | undefined {
  const number = u32Of(value);
  return number === undefined ? undefined : number | 0;
}

/** A NUL-terminated text. */
export function textOf(value: Uint8Array | undefined): string | undefined {
  if (!value) return undefined;
  const end = value.indexOf(0);
  return decodeText(end < 0 ? value : value.subarray(0, end));
}

/**
 * A payload without some of the attributes behind its header. The others stay as they are, also the bits of their types
 * that describe the value.
 */
export function withoutAttributes<T>(header: Struct<T>, payload: Uint8Array, types: ReadonlySet<number>): Uint8Array {
  const parts = [payload.subarray(0, header.size)];
  for (let at = header.size; at + Nlattr.size <= payload.length; ) {
    const { length, type } = Nlattr.decode(payload, at);
    if (length < Nlattr.size) break;
    const end = at + align4(length);
    if (!types.has(type & NLA_TYPE_MASK)) parts.push(payload.subarray(at, end));
    at = end;
  }
  return new Uint8Array(Buffer.concat(parts));
}
