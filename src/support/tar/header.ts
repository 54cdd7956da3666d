/** Headers of tar archives: ustar (POSIX.1-1988); what does not fit there is in records of pax (POSIX.1-2001). Pure. */
import { StasisError } from '../../base/errors.ts';
import { decodeText, encodeText } from '../../base/text.ts';

/** Headers and contents begin at multiples of it, in bytes. */
export const BLOCK = 512;

/** The type of an entry. */
export const TarType = {
  FILE: '0',
  HARD_LINK: '1',
  SYMLINK: '2',
  CHARACTER: '3',
  BLOCK: '4',
  DIRECTORY: '5',
  FIFO: '6',
  PAX: 'x',
  PAX_GLOBAL: 'g',
  GNU_NAME: 'L',
  GNU_LINK: 'K',
  GNU_SPARSE: 'S',
} as const;

/** What a header says. */
export interface TarHeader {
  readonly name: string;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of what follows the header, in bytes. */
  readonly size: number;
  /** Seconds. */
  readonly mtime: number;
  readonly type: string;
  readonly link: string;
  readonly major: number;
  readonly minor: number;
}

/** Where each field is, and how long. */
const AT = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  link: [157, 100],
  magic: [257, 8],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const;

type FieldName = keyof typeof AT;

/** The block of a header. What does not fit is cut off; {@link paxOf} makes the records that hold it. */
export function encodeHeader(header: TarHeader): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (name: FieldName, bytes: Uint8Array): void => block.set(bytes.subarray(0, AT[name][1]), AT[name][0]);
  const octal = (name: FieldName, value: number): void => {
    const digits = AT[name][1] - 1;
    const most = 8 ** digits - 1;
    put(name, encodeText(Math.min(Math.max(value, 0), most).toString(8).padStart(digits, '0')));
  };
  put('name', encodeText(header.name));
  octal('mode', header.mode);
  octal('uid', header.uid);
  octal('gid', header.gid);
  octal('size', header.size);
  octal('mtime', header.mtime);
  put('type', encodeText(header.type));
  put('link', encodeText(header.link));
  put('magic', encodeText('ustar\u000000'));
  octal('major', header.major);
  octal('minor', header.minor);
  put('checksum', encodeText(`${checksumOf(block).toString(8).padStart(6, '0')}\u0000 `));
  return block;
}

/** The header in a block; undefined for a block of zeros, which ends an archive. @throws StasisError (image) */
export function decodeHeader(block: Uint8Array): TarHeader | undefined {
  if (block.length < BLOCK) throw damaged('it ends too early');
  if (block.every((byte) => byte === 0)) return undefined;
  if (number(block, 'checksum') !== checksumOf(block)) throw damaged('a header is damaged');
  const prefix = text(block, 'prefix');
  const isUstar = decodeText(block.subarray(257, 263)) === 'ustar\u0000';
  const name = text(block, 'name');
  return {
    name: isUstar && prefix !== '' ? `${prefix}/${name}` : name,
    mode: number(block, 'mode'),
    uid: number(block, 'uid'),
    gid: number(block, 'gid'),
    size: number(block, 'size'),
    mtime: number(block, 'mtime'),
    type: text(block, 'type') || TarType.FILE,
    link: text(block, 'link'),
    major: number(block, 'major'),
    minor: number(block, 'minor'),
  };
}

function checksumOf(block: Uint8Array): number {
  const [from, length] = AT.checksum;
  return block.reduce((sum, byte, i) => sum + (i >= from && i < from + length ? 32 : byte), 0);
}

function text(block: Uint8Array, name: FieldName): string {
  const [from, length] = AT[name];
  const field = block.subarray(from, from + length);
  const end = field.indexOf(0);
  return decodeText(end < 0 ? field : field.subarray(0, end));
}

function number(block: Uint8Array, name: FieldName): number {
  const [from, length] = AT[name];
  return tarNumber(block.subarray(from, from + length));
}

/** A number in a field: octal digits, or, as GNU has it, big-endian bytes after one with the highest bit. */
export function tarNumber(field: Uint8Array): number {
  const [first = 0] = field;
  if ((first & 0x80) !== 0) {
    return field.subarray(1).reduce((sum, byte) => sum * 256 + byte, first & 0x7f);
  }
  const digits = decodeText(field).split('\u0000')[0]?.trim() ?? '';
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** The error for an archive that cannot be read. */
export function damaged(reason: string): StasisError {
  return new StasisError({ kind: 'image', resource: 'an archive of files', reason });
}

/** A record of pax. Values may be any bytes. */
export type PaxRecord = readonly [key: string, value: Uint8Array];

/** The contents of an entry of pax records: each begins with its own length in decimal digits. */
export function encodePax(records: readonly PaxRecord[]): Uint8Array {
  const pieces = records.map(([key, value]) => {
    const head = encodeText(` ${key}=`);
    const rest = head.length + value.length + 1;
    let length = rest + 1;
    while (length !== rest + String(length).length) length = rest + String(length).length;
    const record = new Uint8Array(length);
    record.set(encodeText(String(length)));
    record.set(head, length - rest);
    record.set(value, length - rest + head.length);
    record[length - 1] = 10;
    return record;
  });
  return new Uint8Array(Buffer.concat(pieces));
}

/** The inverse of {@link encodePax}. @throws StasisError (image) */
export function decodePax(bytes: Uint8Array): Map<string, Uint8Array> {
  const records = new Map<string, Uint8Array>();
  for (let at = 0; at < bytes.length; ) {
    const blank = bytes.indexOf(32, at);
    const length = Number(decodeText(bytes.subarray(at, blank)));
    const sign = bytes.indexOf(61, blank);
    if (blank < 0 || sign < blank || !(length > sign - at) || at + length > bytes.length)
      throw damaged('a record is damaged');
    records.set(decodeText(bytes.subarray(blank + 1, sign)), bytes.subarray(sign + 1, at + length - 1));
    at += length;
  }
  return records;
}

/** What of a header does not fit its block. `nanoseconds` belong to the time of the last change. */
export function paxOf(header: TarHeader, nanoseconds: number): PaxRecord[] {
  const record = (key: string, value: string): PaxRecord => [key, encodeText(value)];
  const fits = (name: FieldName, value: number): boolean => value >= 0 && value < 8 ** (AT[name][1] - 1);
  return [
    ...(encodeText(header.name).length > AT.name[1] ? [record('path', header.name)] : []),
    ...(encodeText(header.link).length > AT.link[1] ? [record('linkpath', header.link)] : []),
    ...(fits('size', header.size) ? [] : [record('size', String(header.size))]),
    ...(fits('uid', header.uid) ? [] : [record('uid', String(header.uid))]),
    ...(fits('gid', header.gid) ? [] : [record('gid', String(header.gid))]),
    ...(nanoseconds === 0 && fits('mtime', header.mtime)
      ? []
      : [record('mtime', `${header.mtime}.${String(nanoseconds).padStart(9, '0')}`)]),
  ];
}
