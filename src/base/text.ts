/**
 * Text as the kernel knows it: bytes that are usually, but not always, UTF-8.
 *
 * File names, comms and command lines may hold any byte but NUL. They are decoded the way Python does it
 * ("surrogateescape"): a byte that is not part of valid UTF-8 becomes the lone surrogate U+DC00 + byte, and is
 * turned back into that byte on the way out. Every byte string survives the round trip.
 */

const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

/** Decodes bytes of unknown origin; never throws, never loses a byte. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return utf8Strict.decode(bytes);
  } catch {
    return decodeEscaped(bytes);
  }
}

/** Decodes text that is not valid UTF-8 as a whole, sequence by sequence. This is slow, and rarely needed. */
function decodeEscaped(bytes: Uint8Array): string {
  let out = '';
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes[i] as number);
    const piece = bytes.subarray(i, i + length);
    try {
      if (length === 0 || piece.length < length) throw new RangeError('not a sequence');
      out += utf8Strict.decode(piece);
      i += length;
    } catch {
      out += String.fromCharCode(0xdc00 + (bytes[i] as number));
      i += 1;
    }
  }
  return out;
}

function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/**
 * The inverse of {@link decodeText}. A lone surrogate outside U+DC80…U+DCFF becomes U+FFFD, as in every UTF-8 encoder.
 */
export function encodeText(text: string): Uint8Array {
  if (text.isWellFormed()) return utf8.encode(text);
  const parts: Uint8Array[] = [];
  let plain = '';
  for (const char of text) {
    const code = char.charCodeAt(0);
    if (char.length === 1 && code >= 0xdc80 && code <= 0xdcff) {
      parts.push(utf8.encode(plain), Uint8Array.of(code - 0xdc00));
      plain = '';
    } else {
      plain += char;
    }
  }
  parts.push(utf8.encode(plain));
  return new Uint8Array(Buffer.concat(parts));
}

/** Writes text and a NUL to the beginning of `into`. Text that does not fit is cut off. */
export function putText(text: string, into: Uint8Array): void {
  if (text.isWellFormed()) {
    into[Math.min(utf8.encodeInto(text, into).written, into.length - 1)] = 0;
    return;
  }
  const bytes = encodeText(text).subarray(0, into.length - 1);
  into.set(bytes);
  into[bytes.length] = 0;
}

/** A NUL-terminated byte string, as system calls take paths. */
export function cstring(text: string): Uint8Array {
  const body = encodeText(text);
  const out = new Uint8Array(body.length + 1);
  out.set(body);
  return out;
}
