/**
 * A fast 32-bit checksum. Every word is mixed in by reversible steps, so a change within one aligned word is always
 * noticed; any other change goes unnoticed once in four billion times. It gives no protection against intent.
 *
 *     hash = 0x9e3779b1
 *     for each word (32 bits, little-endian, the last one padded with zeros):
 *         hash = (hash xor word) * 0x9e3779b1;  hash = hash xor (hash >> 15)
 *
 * CRC-32 would do as well, but most of a small dump is over before its code is compiled by the JIT, and the interpreter
 * takes too long over every byte. Loading node:zlib takes milliseconds.
 */

const ODD = 0x9e3779b1;
const CHUNK = 4096;
let chunk: { readonly bytes: Uint8Array; readonly words: Int32Array } | undefined;

/** The checksum of bytes, as eight hexadecimal digits. */
export function checksum(bytes: Uint8Array): string {
  return hex(addToChecksum(ODD, bytes));
}

/** The checksum of bytes that come in pieces. The length of every piece but the last must be a multiple of four. */
export function checksumOf(pieces: Iterable<Uint8Array>): string {
  let hash = ODD;
  for (const piece of pieces) hash = addToChecksum(hash, piece);
  return hex(hash);
}

function hex(hash: number): string {
  return (hash >>> 0).toString(16).padStart(8, '0');
}

function addToChecksum(before: number, bytes: Uint8Array): number {
  // The bytes may begin at any address; they are copied to a buffer in which words are aligned.
  chunk ??= fresh();
  let hash = before;
  for (let at = 0; at < bytes.length; at += CHUNK) {
    const piece = bytes.length <= CHUNK ? bytes : bytes.subarray(at, at + CHUNK);
    chunk.bytes.set(piece);
    if (piece.length % 4 !== 0) chunk.bytes.fill(0, piece.length, (piece.length + 3) & ~3);
    hash = mixed(hash, chunk.words, (piece.length + 3) >>> 2);
  }
  return hash;
}

function fresh(): { bytes: Uint8Array; words: Int32Array } {
  const bytes = new Uint8Array(CHUNK);
  return { bytes, words: new Int32Array(bytes.buffer) };
}

function mixed(before: number, words: Int32Array, count: number): number {
  const multiply = Math.imul;
  let hash = before;
  for (let i = 0; i < count; i++) {
    hash = multiply(hash ^ (words[i] as number), ODD);
    hash ^= hash >>> 15;
  }
  return hash;
}
