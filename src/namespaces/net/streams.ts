/**
 * Streams of rtnetlink messages in images, as `ip addr save`, `ip route save` and `ip rule save` make them: a number
 * that tells what they are, and messages. Pure.
 */
import { ImageError } from '../../images/error.ts';
import { decodeMessages, encodeMessage, type NetlinkMessage } from '../../kernel/netlink/message.ts';

/** The number at the beginning of a stream. */
export const STREAM_MAGIC = { addresses: 0x47361222, routes: 0x45311224, rules: 0x71706986 } as const;

/** Messages one after the other. */
export function joinMessages(messages: readonly NetlinkMessage[]): Uint8Array {
  return new Uint8Array(Buffer.concat(messages.map((message) => encodeMessage(message))));
}

/** Makes the content of an image. */
export function encodeStream(magic: number, messages: readonly NetlinkMessage[]): Uint8Array {
  return new Uint8Array(Buffer.concat([new Uint8Array(new Uint32Array([magic]).buffer), joinMessages(messages)]));
}

/** The messages of an image; none if it is absent or empty. @throws ImageError if it is damaged */
export function decodeStream(magic: number, bytes: Uint8Array | undefined, file: string): NetlinkMessage[] {
  if (!bytes || bytes.length === 0) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0, true) !== magic) {
    throw new ImageError({ file, reason: `damaged: does not begin with ${magic.toString(16)}` });
  }
  return splitMessages(bytes.subarray(4), file);
}

/** Messages that stand one after the other. @throws ImageError if they are cut off */
export function splitMessages(bytes: Uint8Array, file: string): NetlinkMessage[] {
  try {
    return decodeMessages(bytes);
  } catch {
    throw new ImageError({ file, reason: 'damaged: a message is cut off' });
  }
}
