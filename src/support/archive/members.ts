/**
 * Archives of images: a tar archive (ustar, with records of pax) that holds the files of one image set. Pure: where
 * members are, and what is written before them.
 */
import { StasisError } from '../../base/errors.ts';
import { decodeText } from '../../base/text.ts';
import { ImageError } from '../../images/error.ts';
import { FREED } from '../../images/own-files.ts';
import {
  BLOCK,
  decodeHeader,
  decodePax,
  encodeHeader,
  encodePax,
  type PaxRecord,
  paxOf,
  type TarHeader,
  TarType,
} from '../tar/header.ts';

/** Page contents begin at multiples of it, in bytes, as memory that is mapped has to. */
const ALIGNMENT = 4096;
/** In bytes; names and records of pax of images are far smaller. */
const MAX_RECORDS = 1 << 20;
/** An archive has no more members than that; it takes a hostile one to have more. */
const MAX_MEMBERS = 1 << 22;

/** Where the content of a member is. */
export interface Member {
  readonly offset: number;
  readonly size: number;
}

/** What is in an archive. */
export interface ArchiveIndex {
  /** The files of the image set, by name. */
  readonly members: ReadonlyMap<string, Member>;
  /** The target of the link to the images of the previous dump, if there is one. */
  readonly parent: string | undefined;
}

/** A member that is to be written. */
export type NewMember = Pick<TarHeader, 'name' | 'size' | 'mode' | 'mtime'> & { readonly link?: string };

/**
 * What is written at offset `at` (a multiple of {@link BLOCK}) before the content of a member. An `aligned` one gets a
 * comment of such a length that its content begins at a multiple of a page.
 */
export function memberHead(member: NewMember, at: number, aligned: boolean): Uint8Array {
  const { link = '', ...rest } = member;
  const type = link === '' ? TarType.FILE : TarType.SYMLINK;
  const header: TarHeader = { ...rest, uid: 0, gid: 0, type, link, major: 0, minor: 0 };
  const records = paxOf(header, 0);
  const needed = padded(encodePax(records).length);
  const extra = needed === 0 ? 0 : needed + BLOCK;
  const gap = aligned ? (ALIGNMENT - ((at + extra + BLOCK) % ALIGNMENT)) % ALIGNMENT : 0;
  if (gap === 0) return joined(extra === 0 ? [] : recordsPart(header, records), encodeHeader(header));
  // The records need a header of their own, unless there are some already.
  const most = gap + (extra === 0 ? -BLOCK : needed);
  const room = most === 0 ? ALIGNMENT : most;
  const comment: PaxRecord = ['comment', new Uint8Array(Math.max(1, room - encodePax(records).length - 32)).fill(32)];
  return joined(recordsPart(header, [...records, comment], room), encodeHeader(header));
}

/** A header of pax and its records, in as many bytes as they take, or in `room`. */
function recordsPart(header: TarHeader, records: readonly PaxRecord[], room?: number): Uint8Array[] {
  const body = encodePax(records);
  const block = new Uint8Array(room ?? padded(body.length));
  block.set(body);
  const name = `PaxHeaders/${header.name}`.slice(0, 99);
  return [encodeHeader({ ...header, name, type: TarType.PAX, link: '', size: body.length }), block];
}

function joined(parts: readonly Uint8Array[], last: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([...parts, last]));
}

/** The next multiple of {@link BLOCK}. */
export function padded(length: number): number {
  return Math.ceil(length / BLOCK) * BLOCK;
}

/** What ends an archive. */
export const END_SIZE = 2 * BLOCK;

/** Reads a part of an archive; shorter at its end. */
export type ReadAt = (offset: number, length: number) => Uint8Array;

/**
 * Finds the image set in an archive: the files in the folder that holds an inventory. `name` is that of the archive,
 * for errors.
 * @throws ImageError if the archive is damaged, ends too early, or does not hold exactly one set
 */
export function readIndex(read: ReadAt, size: number, name: string): ArchiveIndex {
  const bad = (reason: string, remedy?: string): ImageError => new ImageError({ file: name, reason, remedy });
  requireTar(read(0, BLOCK), bad);
  try {
    return setOf(walk(read, size, bad), bad);
  } catch (error) {
    if (error instanceof ImageError || !(error instanceof StasisError)) throw error;
    throw bad(error.reason ?? error.message); // of the decoder, which knows no names
  }
}

type Bad = (reason: string, remedy?: string) => ImageError;

/** Why an archive is none that has no byte. */
export const EMPTY = 'is empty: nothing was written, or whoever should have has failed';

/** Beginnings of compressed files, and who decompresses them. */
const COMPRESSED: readonly (readonly [magic: readonly number[], program: string])[] = [
  [[0x1f, 0x8b], 'gzip'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'zstd'],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], 'xz'],
  [[0x42, 0x5a, 0x68], 'bzip2'],
];

function requireTar(first: Uint8Array, bad: Bad): void {
  if (first.length === 0) throw bad(EMPTY);
  const found = COMPRESSED.find(([magic]) => magic.every((byte, i) => first[i] === byte));
  if (found) {
    throw bad('is compressed', `decompress it on the way: ${found[1]} -dc FILE | stasis restore --from - …`);
  }
}

/** All members by their paths, and the symbolic links. */
interface Contents {
  readonly files: ReadonlyMap<string, Member>;
  readonly links: ReadonlyMap<string, string>;
}

function walk(read: ReadAt, size: number, bad: Bad): Contents {
  const files = new Map<string, Member>();
  const links = new Map<string, string>();
  const early = (): ImageError => bad('ends too early: the dump was not finished, or not all of it has arrived');
  const bodyOf = (at: number, length: number): Uint8Array => {
    if (length > MAX_RECORDS) throw bad('a record is damaged');
    const bytes = read(at, length);
    if (bytes.length < length) throw early();
    return bytes;
  };
  let told: { path?: string; size?: number; link?: string } = {};
  for (let at = 0, count = 0; ; count++) {
    if (count > MAX_MEMBERS) throw bad('has more members than any dump');
    const block = read(at, BLOCK);
    if (block.length < BLOCK) throw early();
    const header = decodeHeader(block);
    if (!header) break;
    const length = told.size ?? header.size;
    if (!Number.isSafeInteger(length) || length < 0) throw bad('a header is damaged');
    const offset = at + BLOCK;
    if (offset + length > size) throw early();
    at = offset + padded(length);
    const path = plain(told.path ?? header.name);
    switch (header.type) {
      case TarType.PAX:
        told = { ...told, ...fromPax(decodePax(bodyOf(offset, length)), path, bad) };
        continue;
      case TarType.PAX_GLOBAL:
        continue;
      case TarType.GNU_NAME:
        told = { ...told, path: withoutNul(bodyOf(offset, length)) };
        continue;
      case TarType.GNU_LINK:
        told = { ...told, link: withoutNul(bodyOf(offset, length)) };
        continue;
      case TarType.FILE:
      case CONTIGUOUS:
        if (files.has(path)) throw bad(`${path} is in it twice`);
        files.set(path, { offset, size: length });
        break;
      case TarType.HARD_LINK: {
        const original = files.get(plain(told.link ?? header.link));
        if (original) files.set(path, original);
        break;
      }
      case TarType.SYMLINK:
        links.set(path, told.link ?? header.link);
        break;
      case TarType.GNU_SPARSE:
        throw sparse(path, bad);
      default: // directories and devices are no images
    }
    told = {};
  }
  return { files, links };
}

const CONTIGUOUS = '7';

function fromPax(
  records: ReadonlyMap<string, Uint8Array>,
  path: string,
  bad: Bad,
): { path?: string; size?: number; link?: string } {
  const text = (key: string): string | undefined => {
    const value = records.get(key);
    return value && decodeText(value);
  };
  if ([...records.keys()].some((key) => key.startsWith('GNU.sparse'))) throw sparse(text('path') ?? path, bad);
  const size = text('size');
  const named = text('path');
  const link = text('linkpath');
  return {
    ...(named === undefined ? {} : { path: named }),
    ...(size === undefined ? {} : { size: Number(size) }),
    ...(link === undefined ? {} : { link }),
  };
}

function sparse(path: string, bad: Bad): ImageError {
  return bad(`${path} is in it as a sparse file`, 'make the archive without holes: tar without --sparse');
}

function withoutNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
}

/** A path without dots and slashes at its ends. */
function plain(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

const INVENTORY = 'inventory.img';

function setOf({ files, links }: Contents, bad: Bad): ArchiveIndex {
  const folders = [...files.keys()]
    .filter((path) => path === INVENTORY || path.endsWith(`/${INVENTORY}`))
    .map((path) => path.slice(0, -INVENTORY.length));
  const [folder, ...more] = folders;
  if (folder === undefined) throw bad('holds no images: there is no inventory in it');
  if (more.length > 0) throw bad('holds several sets of images', 'unpack it, and restore one with -D');
  const members = new Map<string, Member>();
  for (const [path, member] of files) {
    const name = path.startsWith(folder) ? path.slice(folder.length) : '/';
    if (!name.includes('/')) members.set(name, member);
  }
  if (members.has(FREED)) {
    throw bad('holds images of which deduplication has freed a part', 'unpack them, and restore the last of the chain');
  }
  return { members, parent: links.get(`${folder}parent`) };
}

/** The two blocks of zeros that end an archive. */
export function endBlocks(): Uint8Array {
  return new Uint8Array(END_SIZE);
}

/** The bytes between the end of a member and the next one. */
export function padding(length: number): Uint8Array {
  return new Uint8Array(padded(length) - length);
}
