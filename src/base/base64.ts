/** Base64 on one line, as Stasis' own files hold bytes. */

/** Encodes bytes. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** Decodes text. What is not Base64 is passed over; readers of files check them by their form (images/form.ts). */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
