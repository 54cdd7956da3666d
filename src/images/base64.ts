/** Base64 in lines of 76 characters, each ended by a newline, as MIME and Python's base64.encodebytes have it. */

/** Encodes bytes; empty text for no bytes. */
export function encodeBase64(bytes: Uint8Array): string {
  const line = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
  return line.replace(/.{1,76}/g, '$&\n');
}

/** Decodes text. Characters outside the alphabet are skipped. */
export function decodeBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replace(/[^A-Za-z0-9+/=]/g, ''), 'base64'));
}
