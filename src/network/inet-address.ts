/** Addresses of IP as people write them. Pure. */

/**
 * The bytes of an address, in network order: 4 of `192.0.2.1`, and of `::ffff:192.0.2.1`, which is the same host; 16 of
 * `2001:db8::1`. Undefined for anything else.
 */
export function parseInetAddress(text: string): Uint8Array | undefined {
  const bytes = text.includes(':') ? parseInet6(text) : parseInet4(text);
  return bytes && (mappedOf(bytes) ?? bytes);
}

/** The four bytes of an address of IPv4 that is mapped into IPv6 (RFC 4291, 2.5.5.2); undefined for all others. */
export function mappedOf(bytes: Uint8Array): Uint8Array | undefined {
  const isMapped = bytes.length === 16 && bytes.every((byte, i) => i >= 12 || byte === (i < 10 ? 0 : 0xff));
  return isMapped ? bytes.slice(12) : undefined;
}

function parseInet4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  const isGood = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  return isGood ? new Uint8Array(parts.map(Number)) : undefined;
}

function parseInet6(text: string): Uint8Array | undefined {
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return undefined;
  const front = groupsOf(head, tail === undefined);
  const back = tail === undefined ? [] : groupsOf(tail, true);
  if (!front || !back) return undefined;
  const missing = 8 - front.length - back.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...front, ...new Array<number>(missing).fill(0), ...back];
  return new Uint8Array(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Groups of 16 bits. At the end of an address the last two may be written as an address of IPv4. */
function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const last = parts.at(-1) ?? '';
  const four = isEnd ? parseInet4(last) : undefined;
  if (four) parts.pop();
  if (!parts.every((part) => /^[\da-f]{1,4}$/i.test(part))) return undefined;
  const groups = parts.map((part) => Number.parseInt(part, 16));
  const [a = 0, b = 0, c = 0, d = 0] = four ?? [];
  return four ? [...groups, (a << 8) | b, (c << 8) | d] : groups;
}
