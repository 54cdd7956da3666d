/**
 * Helpers of the /proc parsers.
 *
 * The structure of the files is ASCII, but names in them may hold any bytes. Parsers therefore work on a latin-1 string
 * (one char is one byte, nothing is lost) and convert only the names to text, with {@link textOf}.
 */

import { StasisError } from '../../base/errors.ts';
import { decodeText } from '../../base/text.ts';

/**
 * The bytes as a Buffer, for its fast string conversions; `Buffer.from` is slow when first called, so it is avoided.
 */
export function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bytes as a string of the same length, one char a byte. */
export function latin1(bytes: Uint8Array, from = 0, to = bytes.length): string {
  return asBuffer(bytes).toString('latin1', from, to);
}

/** Text (UTF-8, surrogate-escaped) of a latin-1 piece. */
export function textOf(piece: string): string {
  return NOT_ASCII.test(piece) ? decodeText(Buffer.from(piece, 'latin1')) : piece;
}

const NOT_ASCII = /[^\0-\x7f]/;

/** The lines of a file, without their newlines; no empty line at the end. */
export function linesOf(bytes: Uint8Array): string[] {
  const lines = latin1(bytes).split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  return lines;
}

/**
 * Undoes the kernel's `mangle_path()`/`string_escape_str(ESCAPE_OCTAL)`: a backslash and three octal digits are one
 * byte. A backslash before anything else stays as it is. Works on latin-1 strings.
 */
export function unescapeOctal(piece: string): string {
  if (!piece.includes('\\')) return piece;
  return piece.replace(/\\([0-3][0-7][0-7])/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The error (kind 'kernel') for a file in another format than expected, because of a new kernel or a bug in Stasis. */
export function malformed(file: string, what: string): StasisError {
  return new StasisError({
    kind: 'kernel',
    resource: file,
    reason: `unexpected format: ${what}`,
    remedy: 'this kernel may be newer than this program; please report the file',
  });
}

/** A decimal integer that fits a double exactly; throws {@link malformed} otherwise. */
export function decimal(piece: string | undefined, file: string): number {
  const value = piece === undefined || piece === '' ? Number.NaN : Number(piece);
  if (!Number.isSafeInteger(value)) throw malformed(file, `not a number: ${JSON.stringify(piece)}`);
  return value;
}

/** Decimal integers of up to this many characters are exact as doubles. */
const EXACT_DIGITS = 15;

/** A 64-bit decimal integer, possibly negative. */
export function bigDecimal(piece: string | undefined, file: string): bigint {
  if (piece === '0') return 0n;
  if (piece !== undefined && piece.length <= EXACT_DIGITS) return BigInt(decimal(piece, file));
  const digits = piece?.startsWith('-') ? 1 : 0;
  if (piece === undefined || !consistsOf(piece, digits, isDigit)) {
    throw malformed(file, `not a number: ${JSON.stringify(piece)}`);
  }
  return BigInt(piece);
}

/** A hexadecimal number without or with `0x`, at most 2^53. */
export function hex(piece: string | undefined, file: string): number {
  const value = Number(bigHex(piece, file));
  if (!Number.isSafeInteger(value)) throw malformed(file, `too large: ${JSON.stringify(piece)}`);
  return value;
}

/** A 64-bit hexadecimal number without or with `0x`. */
export function bigHex(piece: string | undefined, file: string): bigint {
  const prefixed = piece?.startsWith('0x') ?? false;
  if (piece === undefined || !consistsOf(piece, prefixed ? 2 : 0, isHexDigit)) {
    throw malformed(file, `not a hexadecimal number: ${JSON.stringify(piece)}`);
  }
  return BigInt(prefixed ? piece : `0x${piece}`);
}

/**
 * Whether there are chars from an index on and all pass a test. A regular expression would have to be compiled at every
 * start.
 */
function consistsOf(piece: string, from: number, test: (code: number) => boolean): boolean {
  for (let i = from; i < piece.length; i++) if (!test(piece.charCodeAt(i))) return false;
  return piece.length > from;
}

const isDigit = (c: number): boolean => c >= 48 && c <= 57;
const isHexDigit = (c: number): boolean => isDigit(c) || (c >= 97 && c <= 102) || (c >= 65 && c <= 70);
const isBlank = (c: number): boolean => c === 32 || c === 9;

/** Splits a list separated by any run of blanks and tabs; an empty list for blanks alone. */
export function words(piece: string): string[] {
  const out: string[] = [];
  for (let at = 0; at < piece.length; ) {
    while (at < piece.length && isBlank(piece.charCodeAt(at))) at++;
    const from = at;
    while (at < piece.length && !isBlank(piece.charCodeAt(at))) at++;
    if (at > from) out.push(piece.slice(from, at));
  }
  return out;
}

/** The suffix `d_path()` adds to the name of an unlinked file. */
export const DELETED_SUFFIX = ' (deleted)';

/**
 * Splits a name printed by `d_path()` into the path and whether the suffix ` (deleted)` was there.
 *
 * An existing file that is really called `x (deleted)` looks the same as an unlinked `x`; only a comparison with `stat`
 * (nlink 0, or another inode at the path) tells them apart. Only one suffix of `x (deleted) (deleted)` is removed.
 */
export function splitDeleted(name: string): { path: string; deleted: boolean } {
  const deleted = name.endsWith(DELETED_SUFFIX);
  return { path: deleted ? name.slice(0, -DELETED_SUFFIX.length) : name, deleted };
}
