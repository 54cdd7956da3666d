/**
 * The build ID of an ELF file, a hash that the linker puts into a note. It tells a program or library from another
 * build of the same size. Pure: the caller reads the file.
 */
import { NT_GNU_BUILD_ID, PT } from '../kernel/constants/elf.ts';

/** Reads `length` bytes at `offset`, or fewer at the end of the file. */
export type ReadAt = (offset: number, length: number) => Uint8Array;

/** CRIU's limits: how far into a file it searches, and the longest hash it accepts, in bytes. */
const FAR = 1 << 20;
const LONGEST = 512;

/** The build ID in the form of images: 32-bit words in this machine's byte order; empty if there is none. */
export function buildIdWords(read: ReadAt): number[] {
  const id = buildId(read);
  if (!id) return [];
  const padded = new Uint8Array(Math.ceil(id.length / 4) * 4);
  padded.set(id);
  const view = new DataView(padded.buffer);
  const words: number[] = [];
  for (let at = 0; at < padded.length; at += 4) words.push(view.getUint32(at, true));
  return words;
}

function buildId(read: ReadAt): Uint8Array | undefined {
  const head = read(0, 64);
  if (head.length < 52 || head[0] !== 0x7f || head[1] !== 0x45 || head[2] !== 0x4c || head[3] !== 0x46)
    return undefined;
  const wide = head[4] === 2;
  if (wide ? head.length < 64 : head[4] !== 1) return undefined;
  const little = head[5] !== 2;
  for (const note of noteSegments(read, head, wide, little)) {
    const id = findBuildId(read(note.offset, note.length), little);
    if (id) return id;
  }
  return undefined;
}

interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** Elf64_Ehdr and Elf64_Phdr, or their 32-bit forms (elf.h). */
function noteSegments(read: ReadAt, head: Uint8Array, wide: boolean, little: boolean): Segment[] {
  const view = viewOf(head);
  const offset = wide ? Number(view.getBigUint64(32, little)) : view.getUint32(28, little);
  const size = view.getUint16(wide ? 54 : 42, little);
  const count = view.getUint16(wide ? 56 : 44, little);
  if (offset === 0 || size < (wide ? 56 : 32) || offset + size * count > FAR) return [];
  const table = read(offset, size * count);
  const headers = viewOf(table);
  const found: Segment[] = [];
  for (let at = 0; at + size <= table.length; at += size) {
    if (headers.getUint32(at, little) !== PT.NOTE) continue;
    const place = wide ? Number(headers.getBigUint64(at + 8, little)) : headers.getUint32(at + 4, little);
    const length = wide ? Number(headers.getBigUint64(at + 32, little)) : headers.getUint32(at + 16, little);
    if (place > 0 && place < FAR) found.push({ offset: place, length: Math.min(length, FAR - place) });
  }
  return found;
}

/**
 * Searches notes, each of which holds the sizes of name and description, a type, then name and description padded to
 * four bytes.
 */
function findBuildId(notes: Uint8Array, little: boolean): Uint8Array | undefined {
  const view = viewOf(notes);
  for (let at = 0; at + 12 <= notes.length; ) {
    const name = padded(view.getUint32(at, little));
    const length = view.getUint32(at + 4, little);
    const type = view.getUint32(at + 8, little);
    const start = at + 12 + name;
    if (type === NT_GNU_BUILD_ID) {
      return length > 0 && length <= LONGEST && start + length <= notes.length
        ? notes.slice(start, start + length)
        : undefined;
    }
    at = start + padded(length);
  }
  return undefined;
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
