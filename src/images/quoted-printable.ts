/** Quoted-printable (RFC 2045), as Python's quopri writes it: crit shows the names of unix sockets so. */

const MAX_LINE = 76;

/** Printable bytes as they are, others as `=XX`; long lines are folded. */
export function encodeQuoted(bytes: Uint8Array): string {
  let out = '';
  let column = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const next = bytes[i + 1];
    if (byte === NEWLINE) {
      // White space before a line's end would be lost on the way.
      if (/[ \t]$/.test(out)) out = out.slice(0, -1) + quoted(out.charCodeAt(out.length - 1));
      out += '\n';
      column = 0;
    } else if (mustQuote(byte, next, column)) {
      if (column + 3 >= MAX_LINE) {
        out += '=\n';
        column = 0;
      }
      out += quoted(byte);
      column += 3;
    } else {
      if (next !== undefined && next !== NEWLINE && column + 1 >= MAX_LINE) {
        out += '=\n';
        column = 0;
      }
      out += String.fromCharCode(byte);
      column++;
    }
  }
  return out;
}

const NEWLINE = 10;

function quoted(byte: number): string {
  return `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

function mustQuote(byte: number, next: number | undefined, column: number): boolean {
  if (byte > 126 || byte === 61) return true;
  const last = next === undefined;
  if (byte === 9 || byte === 32) return last;
  // A lone dot on a line ends a mail.
  if (byte === 46) return column === 0 && (last || next === NEWLINE || next === 13 || next === 0);
  if (byte === 13) return next === NEWLINE;
  return byte < 33;
}

/** Decodes quoted-printable text, also as other programs write it. */
export function decodeQuoted(text: string): Uint8Array {
  const plain = text.replace(/=(?:\r?\n|([\da-fA-F]{2}))/g, (_, hex?: string) =>
    hex === undefined ? '' : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Uint8Array.from(plain, (char) => char.charCodeAt(0) & 0xff);
}
