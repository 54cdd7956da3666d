/**
 * The pretty forms of numbers in crit's JSON: flags by name, devices as major:minor, addresses as text. Each has an
 * inverse, which also takes a plain number.
 */

import type { Display } from './message.ts';

type Names = readonly (readonly [name: string, bits: number])[];

const FLAGS: Partial<Record<Display, Names>> = {
  'mmap.prot': [
    ['PROT_READ', 0x1],
    ['PROT_WRITE', 0x2],
    ['PROT_EXEC', 0x4],
  ],
  'mmap.flags': [
    ['MAP_SHARED', 0x1],
    ['MAP_PRIVATE', 0x2],
    ['MAP_DROPPABLE', 0x8],
    ['MAP_ANON', 0x20],
    ['MAP_GROWSDOWN', 0x100],
  ],
  'mmap.status': [
    ['VMA_AREA_NONE', 0],
    ['VMA_AREA_REGULAR', 1 << 0],
    ['VMA_AREA_STACK', 1 << 1],
    ['VMA_AREA_VSYSCALL', 1 << 2],
    ['VMA_AREA_VDSO', 1 << 3],
    ['VMA_AREA_HEAP', 1 << 5],
    ['VMA_FILE_PRIVATE', 1 << 6],
    ['VMA_FILE_SHARED', 1 << 7],
    ['VMA_ANON_SHARED', 1 << 8],
    ['VMA_ANON_PRIVATE', 1 << 9],
    ['VMA_AREA_SYSVIPC', 1 << 10],
    ['VMA_AREA_SOCKET', 1 << 11],
    ['VMA_AREA_VVAR', 1 << 12],
    ['VMA_AREA_AIORING', 1 << 13],
    ['VMA_AREA_MEMFD', 1 << 14],
    ['VMA_AREA_SHSTK', 1 << 15],
    ['VMA_AREA_UPROBES', 1 << 17],
    ['VMA_UNSUPP', 0x8000_0000],
  ],
  'rfile.flags': [
    ['O_WRONLY', 0o1],
    ['O_RDWR', 0o2],
    ['O_CREAT', 0o100],
    ['O_EXCL', 0o200],
    ['O_NOCTTY', 0o400],
    ['O_TRUNC', 0o1000],
    ['O_APPEND', 0o2000],
    ['O_NONBLOCK', 0o4000],
    ['O_DSYNC', 0o10000],
    ['FASYNC', 0o20000],
    ['O_DIRECT', 0o40000],
    ['O_LARGEFILE', 0o100000],
    ['O_DIRECTORY', 0o200000],
    ['O_NOFOLLOW', 0o400000],
    ['O_NOATIME', 0o1000000],
    ['O_CLOEXEC', 0o2000000],
  ],
  'pmap.flags': [
    ['PE_PARENT', 1],
    ['PE_LAZY', 2],
    ['PE_PRESENT', 4],
  ],
  'seals.flags': [
    ['F_SEAL_SEAL', 0x1],
    ['F_SEAL_SHRINK', 0x2],
    ['F_SEAL_GROW', 0x4],
    ['F_SEAL_WRITE', 0x8],
    ['F_SEAL_FUTURE_WRITE', 0x10],
  ],
};

/** Names of values, by display option and name of the field. */
const VALUES: Partial<Record<Display, Record<string, Record<string, number>>>> = {
  gen: { task_state: { Alive: 1, Zombie: 3, Stopped: 6 } },
  sk: {
    family: { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16, PACKET: 17 },
    type: { STREAM: 1, DGRAM: 2, RAW: 3, SEQPACKET: 5, PACKET: 10 },
    state: {
      ESTABLISHED: 1,
      SYN_SENT: 2,
      SYN_RECV: 3,
      FIN_WAIT1: 4,
      FIN_WAIT2: 5,
      TIME_WAIT: 6,
      CLOSE: 7,
      CLOSE_WAIT: 8,
      LAST_ACK: 9,
      LISTEN: 10,
    },
    proto: { IP: 0, TCP: 6, UDP: 17, UDPLITE: 136 },
  },
};

/** The pretty form of a field's number; undefined if it has none and is printed as a number. */
export function showNumber(show: Display, field: string, value: number | bigint): string | undefined {
  if (show === 'hex') return hex(value);
  if (show === 'dev' || show === 'odev') return showDevice(BigInt(value), show);
  const flags = FLAGS[show];
  if (flags) return showFlags(BigInt(value), flags);
  return nameOf(VALUES[show]?.[field], Number(value));
}

/** The number that a pretty form stands for; undefined if the text is no pretty form. */
export function parseNumber(show: Display | undefined, field: string, text: string): bigint | undefined {
  if (show === 'dev' || show === 'odev') {
    const [, major, minor] = /^(\d+):(\d+)$/.exec(text) ?? [];
    if (major !== undefined && minor !== undefined) return makeDevice(BigInt(major), BigInt(minor), show);
  }
  const flags = show && FLAGS[show];
  if (flags) return parseFlags(text, flags);
  const named = show && numberOf(VALUES[show]?.[field], text);
  return named === undefined ? parseInteger(text) : BigInt(named);
}

/** A number as Python's `int(text, 0)` reads it: decimal, 0x, 0o or 0b. */
export function parseInteger(text: string): bigint | undefined {
  const [, sign, digits] = /^\s*([-+]?)(0x[\da-f]+|0o[0-7]+|0b[01]+|0+|[1-9]\d*)\s*$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return sign === '-' ? -BigInt(digits) : BigInt(digits);
}

/** The value of a name. */
export function numberOf(values: Readonly<Record<string, number>> | undefined, name: string): number | undefined {
  return values && Object.hasOwn(values, name) ? values[name] : undefined;
}

/** The name of an enum's or a table's value. */
export function nameOf(values: Readonly<Record<string, number>> | undefined, value: number): string | undefined {
  for (const name in values) if (values[name] === value) return name;
  return undefined;
}

function hex(value: number | bigint): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

function showFlags(value: bigint, names: Names): string {
  const parts: string[] = [];
  let rest = value;
  for (const [name, bits] of names) {
    if ((value & BigInt(bits)) === 0n) continue;
    parts.push(name);
    rest &= ~BigInt(bits);
  }
  if (rest !== 0n) parts.push(hex(rest));
  return parts.join(' | ');
}

function parseFlags(text: string, names: Names): bigint | undefined {
  if (text === '') return 0n;
  let value = 0n;
  for (const part of text.split('|')) {
    const word = part.trim();
    const named = names.find(([name]) => name === word);
    const bits = named ? BigInt(named[1]) : parseInteger(word);
    if (bits === undefined) return undefined;
    value |= bits;
  }
  return value;
}

const KERNEL_MINOR_BITS = 20n;

function showDevice(device: bigint, show: 'dev' | 'odev'): string {
  if (show === 'dev') return `${device >> KERNEL_MINOR_BITS}:${device & ((1n << KERNEL_MINOR_BITS) - 1n)}`;
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffff_ff00n);
  return `${major}:${minor}`;
}

function makeDevice(major: bigint, minor: bigint, show: 'dev' | 'odev'): bigint {
  if (show === 'dev') return (major << KERNEL_MINOR_BITS) | minor;
  return ((major & 0xfffn) << 8n) | ((major & ~0xfffn) << 32n) | (minor & 0xffn) | ((minor & ~0xffn) << 12n);
}

/** Text of an IP address given as the kernel's words (network byte order); undefined if it is no address. */
export function showAddress(words: readonly number[]): string | undefined {
  const bytes = words.flatMap((word) => [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24]);
  if (words.length === 1) return bytes.join('.');
  if (words.length !== 4) return undefined;
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  return compressed(groups.map((group) => group.toString(16)));
}

/** Replaces the first of the longest runs of two or more zero groups by `::`. */
function compressed(groups: string[]): string {
  let best = { at: 0, length: 1 };
  for (let at = 0; at < groups.length; at++) {
    let length = 0;
    while (groups[at + length] === '0') length++;
    if (length > best.length) best = { at, length };
  }
  if (best.length < 2) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

/** The inverse of {@link showAddress}. */
export function parseAddress(text: string): number[] | undefined {
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  if (!bytes) return undefined;
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

function parseIpv4(text: string): number[] | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  return parts?.every((part) => part < 256) ? parts : undefined;
}

function parseIpv6(text: string): number[] | undefined {
  const [head = '', tail, ...more] = text.split('::');
  const before = ipv6Groups(head);
  const after = ipv6Groups(tail ?? '');
  if (!before || !after || more.length > 0) return undefined;
  const gap = 16 - before.length - after.length;
  if (tail === undefined ? gap !== 0 : gap < 2) return undefined;
  return [...before, ...new Array<number>(gap).fill(0), ...after];
}

/** The bytes of some groups, the last of which may be an IPv4 address. */
function ipv6Groups(text: string): number[] | undefined {
  const bytes: number[] = [];
  if (text === '') return bytes;
  for (const group of text.split(':')) {
    const ipv4 = group.includes('.') ? parseIpv4(group) : undefined;
    if (ipv4) bytes.push(...ipv4);
    else if (/^[\da-f]{1,4}$/i.test(group))
      bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff);
    else return undefined;
  }
  return bytes;
}
