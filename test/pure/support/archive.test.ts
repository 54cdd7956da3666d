/** Archives of image sets: what is written is a tar archive that others read, and what others write is read. */
import { afterAll, describe, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageError } from '../../../src/images/error.ts';
import {
  type ArchiveIndex,
  endBlocks,
  memberHead,
  padding,
  type ReadAt,
  readIndex,
} from '../../../src/support/archive/members.ts';
import { decodePax } from '../../../src/support/tar/header.ts';
import { damages, generator } from '../damage.ts';

const WORK = mkdtempSync(join(tmpdir(), 'stasis-archive-'));
afterAll(() => rmSync(WORK, { recursive: true, force: true }));

const bytesOf = (length: number, seed = length): Uint8Array<ArrayBuffer> => {
  const random = generator(seed);
  return Uint8Array.from({ length }, () => random(256));
};

interface File {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly aligned?: boolean;
}

/** An archive as ArchiveWriter makes it. */
function archiveOf(files: readonly File[], parent?: string): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  const add = (bytes: Uint8Array): void => {
    parts.push(bytes);
    at += bytes.length;
  };
  for (const { name, bytes, aligned = false } of files) {
    add(memberHead({ name, size: bytes.length, mode: 0o600, mtime: 1_700_000_000 }, at, aligned));
    if (aligned) expect(at % 4096).toBe(0);
    add(bytes);
    add(padding(bytes.length));
  }
  if (parent !== undefined) {
    add(memberHead({ name: 'parent', size: 0, mode: 0o777, mtime: 1_700_000_000, link: parent }, at, false));
  }
  add(endBlocks());
  return new Uint8Array(Buffer.concat(parts));
}

const readFrom =
  (bytes: Uint8Array): ReadAt =>
  (offset, length) =>
    bytes.subarray(offset, offset + length);

function indexOf(bytes: Uint8Array): ArchiveIndex {
  return readIndex(readFrom(bytes), bytes.length, 'x.tar');
}

function contentsOf(bytes: Uint8Array): Record<string, Uint8Array> {
  const { members } = indexOf(bytes);
  const entries = [...members].map(([name, { offset, size }]) => [name, bytes.slice(offset, offset + size)] as const);
  return Object.fromEntries(entries);
}

const SET: readonly File[] = [
  { name: 'pages-1.img', bytes: bytesOf(3 * 4096), aligned: true },
  { name: 'core-1.img', bytes: bytesOf(700) },
  { name: 'pages-2.img', bytes: bytesOf(0), aligned: true },
  { name: `ghost-file-${'9'.repeat(120)}.img`, bytes: bytesOf(512) },
  { name: 'pages-3.img', bytes: bytesOf(4096, 7), aligned: true },
  { name: 'inventory.img', bytes: bytesOf(86) },
];

function tar(...args: string[]): string {
  return execFileSync('tar', args, { cwd: WORK, encoding: 'utf8' });
}

test('what is written is read, with page contents at multiples of a page', () => {
  const archive = archiveOf(SET, '../before');
  expect(indexOf(archive).parent).toBe('../before');
  expect(contentsOf(archive)).toEqual(Object.fromEntries(SET.map(({ name, bytes }) => [name, bytes])));
});

test('at each place in a page the content is aligned, with and without records of its own', () => {
  for (let at = 0; at < 2 * 4096; at += 512) {
    for (const [name, size] of [
      ['pages-1.img', 8192],
      ['pages-1.img', 2 ** 40],
      [`${'n'.repeat(200)}.img`, 4096],
    ] as const) {
      const head = memberHead({ name, size, mode: 0o600, mtime: 0 }, at, true);
      expect((at + head.length) % 4096).toBe(0);
      expect(head.length).toBeLessThanOrEqual(4096 + 2048);
    }
  }
});

test('GNU tar lists it and unpacks it', () => {
  writeFileSync(join(WORK, 'own.tar'), archiveOf(SET, '../before'));
  expect(tar('tf', 'own.tar').trim().split('\n')).toEqual([...SET.map(({ name }) => name), 'parent']);
  mkdirSync(join(WORK, 'own'));
  expect(tar('xf', 'own.tar', '-C', 'own')).toBe('');
  for (const { name, bytes } of SET) expect(new Uint8Array(readFileSync(join(WORK, 'own', name)))).toEqual(bytes);
});

describe('archives that tar makes', () => {
  const folder = join(WORK, 'made/checkpoint');
  mkdirSync(folder, { recursive: true });
  for (const { name, bytes } of SET) writeFileSync(join(folder, name), bytes);
  writeFileSync(join(WORK, 'made/config.dump'), '{}');
  symlinkSync('../before', join(folder, 'parent'));
  const expected = Object.fromEntries(SET.map(({ name, bytes }) => [name, bytes]));
  for (const form of ['gnu', 'posix', 'ustar'])
    for (const [what, args] of [
      ['the contents of a folder', ['-C', 'made/checkpoint', '.']],
      ['a folder beside other files', ['-C', 'made', 'config.dump', 'checkpoint']],
    ] as const) {
      test(`${form}: ${what}`, () => {
        if (form === 'ustar') rmSync(join(folder, SET[3]?.name ?? ''), { force: true });
        tar('cf', 'hand.tar', `--format=${form}`, ...args);
        const archive = new Uint8Array(readFileSync(join(WORK, 'hand.tar')));
        const { [SET[3]?.name ?? '']: long, ...others } = expected;
        expect(contentsOf(archive)).toEqual(
          form === 'ustar' ? others : { ...others, [SET[3]?.name ?? '']: long as Uint8Array },
        );
        expect(indexOf(archive).parent).toBe('../before');
      });
    }

  test('holes are refused by name', () => {
    execFileSync('truncate', ['-s', '1M', join(WORK, 'made/checkpoint/pages-9.img')]);
    for (const form of ['gnu', 'posix']) {
      tar('cSf', 'holes.tar', `--format=${form}`, '-C', 'made/checkpoint', '.');
      expect(() => indexOf(new Uint8Array(readFileSync(join(WORK, 'holes.tar'))))).toThrow(
        /pages-9.img is in it as a sparse/,
      );
    }
  });

  test('compressed ones are refused with what to do', () => {
    tar('czf', 'hand.tgz', '-C', 'made', 'checkpoint');
    expect(() => indexOf(new Uint8Array(readFileSync(join(WORK, 'hand.tgz'))))).toThrow(/is compressed/);
  });
});

describe('what is no archive of one set', () => {
  const names = (...list: string[]): Uint8Array => archiveOf(list.map((name) => ({ name, bytes: bytesOf(10) })));
  for (const [what, bytes, reason] of [
    ['nothing', new Uint8Array(0), /is empty/],
    ['no inventory', names('core-1.img'), /there is no inventory in it/],
    ['two sets', names('1/inventory.img', '2/inventory.img'), /holds several sets/],
    ['a name twice', names('inventory.img', 'core-1.img', './core-1.img'), /core-1.img is in it twice/],
    ['a part of which is freed', names('stasis-freed.json', 'inventory.img'), /deduplication has freed/],
    ['something else', bytesOf(5000), /a header is damaged/],
  ] as const) {
    test(what, () => {
      expect(() => indexOf(bytes)).toThrow(reason);
      expect(() => indexOf(bytes)).toThrow(ImageError);
    });
  }
});

test('an archive that ends anywhere before its end is refused', () => {
  const archive = archiveOf(SET);
  // The last block of zeros is there for other programs.
  for (let length = 512; length < archive.length - 512; length += 173) {
    expect(() => indexOf(archive.subarray(0, length))).toThrow(/ends too early/);
  }
});

test('a flipped bit between the contents is an error, or the file has another name, which the manifest notices', () => {
  const archive = archiveOf(SET);
  const { members } = indexOf(archive);
  const covered = [...members.values()];
  for (let at = 0; at < archive.length - 1024; at++) {
    if (covered.some(({ offset, size }) => at >= offset && at < offset + size)) continue;
    const damaged = archive.slice();
    damaged[at] = (archive[at] as number) ^ (1 << (at % 8));
    try {
      // Bytes of a long name are in a record, which tar gives no checksum.
      for (const [name, member] of indexOf(damaged).members) {
        if (members.has(name)) expect(member).toEqual(members.get(name) as typeof member);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(ImageError);
    }
  }
});

test('damaged archives are refused or give members within the file, whatever the damage', () => {
  const archive = archiveOf(SET, '../before');
  const random = generator(11);
  for (let round = 0; round < 3000; round++) {
    const damage = damages[round % damages.length] as (typeof damages)[number];
    const bytes = damage(archive, random);
    try {
      for (const { offset, size } of indexOf(bytes).members.values())
        expect(offset + size).toBeLessThanOrEqual(bytes.length);
    } catch (error) {
      expect(error).toBeInstanceOf(ImageError);
    }
  }
});

test('a record without an equals sign ends the reading', () => {
  expect(() => decodePax(new TextEncoder().encode('0 a'))).toThrow();
});
