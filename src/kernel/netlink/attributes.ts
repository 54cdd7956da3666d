/**
 * Attributes of netlink messages (`struct nlattr`): a type, and bytes, which may be attributes again. Pure.
 *
 *     encodeAttributes([[1, u32Bytes(7)], [2, encodeAttributes([[1, bytes]])]])
 *     decodeAttributes(payload.subarray(size)).get(1)
 */
import { NLA_TYPE_MASK } from '../constants/netlink.ts';
import { Nlattr } from '../layouts/netlink.ts';
import { align4 } from './message.ts';

const HEADER = Nlattr.size;

/** Attributes in their order: type and value. */
export type Attributes = readonly (readonly [type: number, value: Uint8Array])[];

/** A struct, padded to four bytes, and attributes. */
export function withAttributes(struct: Uint8Array, attributes: Attributes): Uint8Array {
  const encoded = encodeAttributes(attributes);
  const payload = new Uint8Array(align4(struct.length) + encoded.length);
  payload.set(struct);
  payload.set(encoded, align4(struct.length));
  return payload;
}

/** Encodes attributes, in the order given. */
export function encodeAttributes(attributes: Attributes): Uint8Array {
  const size = attributes.reduce((sum, [, value]) => sum + align4(HEADER + value.length), 0);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [type, value] of attributes) {
    view.setUint16(at, HEADER + value.length, true);
    view.setUint16(at + 2, type, true);
    out.set(value, at + HEADER);
    at += align4(HEADER + value.length);
  }
  return out;
}

/**
 * Attributes by type; of several with the same type the last one. Values are views. An attribute that is cut off at the
 * end is left out.
 */
export function decodeAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  return new Map(listAttributes(bytes));
}

/** Whether there is an attribute of a type in what follows at `start`. For long lists, of which few have it. */
export function hasAttribute(bytes: Uint8Array, start: number, type: number): boolean {
  const word = (at: number): number => (bytes[at] as number) | ((bytes[at + 1] as number) << 8); // at + 1 < length
  for (let at = start; at + HEADER <= bytes.length; ) {
    if ((word(at + 2) & NLA_TYPE_MASK) === type) return true;
    const length = word(at);
    if (length < HEADER) return false;
    at += align4(length);
  }
  return false;
}

/** All attributes in their order, for lists in which a type occurs more than once. */
export function listAttributes(bytes: Uint8Array): [type: number, value: Uint8Array][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: [number, Uint8Array][] = [];
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < HEADER || at + length > bytes.length) break;
    found.push([view.getUint16(at + 2, true) & NLA_TYPE_MASK, bytes.subarray(at + HEADER, at + length)]);
    at += align4(length);
  }
  return found;
}

/** An attribute that is one number. */
export function u32Bytes(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** The 32-bit numbers an attribute consists of. */
export function u32sOf(value: Uint8Array): number[] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Array.from({ length: value.length >> 2 }, (_, i) => view.getUint32(4 * i, true));
}
