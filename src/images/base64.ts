/** Base64 in lines of 76 characters, each ended by a newline, as MIME and Python's base64.encodebytes have it. */

import { fromBase64, toBase64 } from '../base/base64.ts';

/** Encodes bytes; empty text for no bytes. */
export function encodeBase64(bytes: Uint8Array): string {
  const line = toBase64(bytes);
  return line.replace(/.{1,76}/g, '$&\n');
}

/** Decodes text. Characters outside the alphabet are skipped. */
export function decodeBase64(text: string): Uint8Array {
  return fromBase64(text.replace(/[^A-Za-z0-9+/=]/g, ''));
}
