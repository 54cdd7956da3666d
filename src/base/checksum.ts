/**
 * A quick checksum of 32 bits. Every word is mixed in by steps that can be undone, so that a change within one aligned word
 * is noticed for certain; any other goes unnoticed once in four billion times. It is no protection against intent.
 *
 *     hash = 0x9e3779b1
 *     for each word (32 bits, little-endian, the last one filled up with zeros):
 *         hash = (hash xor word) * 0x9e3779b1;  hash = hash xor (hash >> 15)
 *
 * CRC-32 would do as well, but most of a dump is over before its code is compiled, and an interpreter takes too long over
 * every byte; loading node:zlib takes milliseconds.
 */

const ODD = 0x9e3779b1;
const CHUNK = 4096;
let chunk: { readonly bytes: Uint8Array; readonly words: Int32Array } | undefined;

/** The checksum of bytes, as eight hexadecimal digits. */
export function checksum(bytes: Uint8Array): string {
  return hex(addToChecksum(ODD, bytes));
}

/** The checksum of what comes in pieces, all but the last of a length that is a multiple of four. */
export function checksumOf(pieces: Iterable<Uint8Array>): string {
  let hash = ODD;
  for (const piece of pieces) hash = addToChecksum(hash, piece);
  return hex(hash);
}

function hex(hash: number): string {
  return (hash >>> 0).toString(16).padStart(8, '0');
}

function addToChecksum(before: number, bytes: Uint8Array): number {
  // Bytes from anywhere are copied to where words are aligned.
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
