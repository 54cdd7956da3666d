/** The pure parts of the kinds of files: build-ids, locks, the pages of segments, what is read from ghost images. */
import { describe, expect, test } from 'bun:test';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeHeaded } from '../../../src/images/image.ts';
import { Images } from '../../../src/images/kinds.ts';
import type { FileLockEntry } from '../../../src/images/schema/files.ts';
import { parseLockLine } from '../../../src/kernel/proc/locks.ts';
import { LEASE_BREAKING, LockKind, lockCall, lockEntry } from '../../../src/kinds/task/file-locks/lock.ts';
import { buildIdWords, type ReadAt } from '../../../src/paths/build-id.ts';
import { GhostImage } from '../../../src/paths/ghost/image.ts';
import { pageRanges } from '../../../src/support/segment-content.ts';

/** A little ELF file: a header, one program header for notes, and the notes. */
function elf({ wide = true, notes }: { wide?: boolean; notes: Uint8Array }): Uint8Array {
  const headers = wide ? 64 + 56 : 52 + 32;
  const out = new Uint8Array(headers + notes.length);
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1]);
  if (wide) {
    view.setBigUint64(32, 64n, true);
    view.setUint16(54, 56, true);
    view.setUint16(56, 1, true);
    view.setUint32(64, 4, true);
    view.setBigUint64(64 + 8, BigInt(headers), true);
    view.setBigUint64(64 + 32, BigInt(notes.length), true);
  } else {
    view.setUint32(28, 52, true);
    view.setUint16(42, 32, true);
    view.setUint16(44, 1, true);
    view.setUint32(52, 4, true);
    view.setUint32(52 + 4, headers, true);
    view.setUint32(52 + 16, notes.length, true);
  }
  out.set(notes, headers);
  return out;
}

function note(type: number, name: string, description: readonly number[]): number[] {
  const padded = (length: number): number => Math.ceil(length / 4) * 4;
  const out = new Uint8Array(12 + padded(name.length + 1) + padded(description.length));
  const view = new DataView(out.buffer);
  view.setUint32(0, name.length + 1, true);
  view.setUint32(4, description.length, true);
  view.setUint32(8, type, true);
  out.set(new TextEncoder().encode(name), 12);
  out.set(description, 12 + padded(name.length + 1));
  return [...out];
}

function reading(bytes: Uint8Array): ReadAt {
  return (offset, length) => bytes.slice(offset, offset + length);
}

describe('build-id', () => {
  const id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  const words = [0x04030201, 0x08070605, 0x00000a09];

  for (const wide of [true, false]) {
    test(`is found behind other notes, ${wide ? 64 : 32} bits`, () => {
      const notes = Uint8Array.from([...note(1, 'GNU', [0, 0, 0, 0, 3]), ...note(3, 'GNU', id)]);
      expect(buildIdWords(reading(elf({ wide, notes })))).toEqual(words);
    });
  }

  test('of other files there is none', () => {
    expect(buildIdWords(reading(new Uint8Array()))).toEqual([]);
    expect(buildIdWords(reading(new TextEncoder().encode('#!/bin/sh\necho')))).toEqual([]);
    expect(buildIdWords(reading(elf({ notes: Uint8Array.from(note(1, 'GNU', id)) })))).toEqual([]);
  });

  test('a torn or lying file does no harm', () => {
    const whole = elf({ notes: Uint8Array.from(note(3, 'GNU', id)) });
    // The last two bytes are padding.
    for (let length = 0; length < whole.length - 2; length++) {
      expect(buildIdWords(reading(whole.subarray(0, length)))).toEqual([]);
    }
    for (let at = 0; at < whole.length; at++) {
      const bent = whole.slice();
      bent[at] = 0xff;
      expect(() => buildIdWords(reading(bent))).not.toThrow();
    }
  });

  test('is what the linker wrote', () => {
    const file = readFileSync('/proc/self/exe');
    const [first] = buildIdWords(reading(file));
    if (first === undefined) return; // this runtime was linked without
    const bytes = Buffer.from(new Uint32Array(buildIdWords(reading(file))).buffer);
    expect(file.includes(bytes)).toBe(true);
  });
});

describe('locks', () => {
  const entry = (line: string) => lockEntry(parseLockLine(line), 77, 5);

  test('as images have them', () => {
    expect(entry('1: POSIX  ADVISORY  WRITE 9 fe:00:2 10 14')).toEqual({
      ...{ flag: LockKind.POSIX, type: 1, pid: 77, fd: 5, start: 10n, len: 5n },
    });
    expect(entry('2: OFDLCK ADVISORY  READ -1 fe:00:2 100 EOF')).toEqual({
      ...{ flag: LockKind.OFD, type: 0, pid: 77, fd: 5, start: 100n, len: 0n },
    });
    expect(entry('3: FLOCK  ADVISORY  WRITE 9 fe:00:2 0 EOF')).toMatchObject({
      flag: LockKind.FLOCK,
      type: 1,
      len: 0n,
    });
    expect(entry('4: LEASE  BREAKING  READ 9 fe:00:2 0 EOF')).toMatchObject({
      ...{ flag: LockKind.LEASE, type: LEASE_BREAKING },
    });
    expect(entry('5: DELEG  ACTIVE    READ 9 fe:00:2 0 EOF')).toBeUndefined();
  });

  test('as calls', () => {
    const call = (flag: number, type: number) =>
      lockCall({ flag, type, pid: 1, fd: 2, start: 0n, len: 0n } satisfies FileLockEntry);
    expect(call(LockKind.FLOCK, 0)).toEqual({ call: 'flock', operation: 1 | 4 });
    expect(call(LockKind.FLOCK, 1)).toEqual({ call: 'flock', operation: 2 | 4 });
    expect(call(LockKind.POSIX, 1)).toEqual({ call: 'fcntl', command: 6, type: 1, range: true });
    expect(call(LockKind.OFD, 0)).toEqual({ call: 'fcntl', command: 37, type: 0, range: true });
    expect(call(LockKind.LEASE, 1)).toEqual({ call: 'fcntl', command: 1024, type: 1, range: false });
    expect(call(3, 0)).toBeUndefined();
  });
});

describe('pages of a segment', () => {
  test('are whole, and each is there once', () => {
    expect(pageRanges([])).toEqual([]);
    expect(pageRanges([{ start: 0, end: 1 }])).toEqual([{ start: 0, length: 4096 }]);
    expect(
      pageRanges([
        { start: 0, end: 4096 },
        { start: 4096, end: 8192 },
        { start: 16384, end: 20000 },
        { start: 20400, end: 20481 },
      ]),
    ).toEqual([
      { start: 0, length: 8192 },
      { start: 16384, length: 8192 },
    ]);
  });
});

describe('ghost images', () => {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-ghost-'));
  const path = join(dir, 'ghost-file-1.img');
  const poured = join(dir, 'poured');
  const head = { uid: 1, gid: 2, mode: 0o100640 };

  /** What the image's content becomes; the error it gives if it is damaged. */
  function pour(image: Uint8Array): Buffer | string {
    writeFileSync(path, image);
    writeFileSync(poured, '');
    const to = openSync(poured, 'r+');
    try {
      using ghost = new GhostImage(path, 'ghost-file-1.img');
      ghost.pour(to);
      return readFileSync(poured);
    } catch (error) {
      return String(error);
    } finally {
      closeSync(to);
    }
  }

  test('content in one piece', () => {
    const payload = new TextEncoder().encode('boo');
    expect(pour(writeHeaded(Images.ghostFile, { message: head, payload }, []))).toEqual(Buffer.from('boo'));
    expect(pour(writeHeaded(Images.ghostFile, { message: head }, []))).toEqual(Buffer.from(''));
  });

  test('content in pieces, with holes before, between and after', () => {
    const image = writeHeaded(Images.ghostFile, { message: { ...head, chunks: true, size: 100_000 } }, [
      { message: { off: 8192, len: 3 }, payload: new TextEncoder().encode('abc') },
      { message: { off: 40960, len: 1 }, payload: new TextEncoder().encode('d') },
    ]);
    const content = Buffer.alloc(100_000);
    content.write('abc', 8192);
    content.write('d', 40960);
    expect(pour(image)).toEqual(content);
    expect(statSync(poured).blocks * 512).toBeLessThan(100_000);
    for (const length of [3, 9, 20, image.length - 1]) expect(pour(image.subarray(0, length))).toContain('ImageError');
  });

  test('a piece beyond the end', () => {
    const image = writeHeaded(Images.ghostFile, { message: { ...head, chunks: true, size: 10 } }, [
      { message: { off: 8, len: 3 }, payload: new Uint8Array(3) },
    ]);
    expect(pour(image)).toContain('beyond the end');
    rmSync(dir, { recursive: true });
  });
});
