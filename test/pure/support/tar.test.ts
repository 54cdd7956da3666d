/** Archives: what Stasis writes is read by GNU tar and by itself; what GNU tar writes is read, in all its forms. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { localFd } from '../../../src/base/brands.ts';
import { decodePax, encodePax } from '../../../src/support/tar/header.ts';
import { readArchive } from '../../../src/support/tar/read.ts';
import { writeArchive } from '../../../src/support/tar/write.ts';
import { OUR_IDS } from '../../../src/support/user-ids.ts';

const WORK = mkdtempSync(join(tmpdir(), 'stasis-tar-'));
const SOURCE = join(WORK, 'source');
afterAll(() => rmSync(WORK, { recursive: true, force: true }));

const LONG = 'n'.repeat(180);

beforeAll(() => {
  mkdirSync(join(SOURCE, 'dir', LONG, LONG), { recursive: true });
  writeFileSync(join(SOURCE, 'empty'), '');
  writeFileSync(join(SOURCE, 'dir/file'), 'contents\n');
  writeFileSync(join(SOURCE, 'dir', LONG, LONG, LONG), 'deep');
  writeFileSync(join(SOURCE, 'large'), Buffer.alloc(3_000_000, 'abc'));
  writeFileSync(join(SOURCE, 'sparse'), 'begin');
  truncateSync(join(SOURCE, 'sparse'), 50_000_000);
  execFileSync('dd', ['if=/dev/urandom', `of=${join(SOURCE, 'many')}`, 'bs=4096', 'count=1', 'status=none']);
  for (let i = 1; i < 40; i++) {
    const place = [`of=${join(SOURCE, 'many')}`, 'bs=4096', `seek=${i * 32}`, 'count=1', 'conv=notrunc', 'status=none'];
    execFileSync('dd', ['if=/dev/urandom', ...place]);
  }
  symlinkSync('dir/file', join(SOURCE, 'link'));
  symlinkSync(LONG, join(SOURCE, 'longlink'));
  linkSync(join(SOURCE, 'dir/file'), join(SOURCE, 'dir/second'));
  execFileSync('mkfifo', [join(SOURCE, 'fifo')]);
  chmodSync(join(SOURCE, 'dir/file'), 0o4751);
  utimesSync(join(SOURCE, 'dir/file'), 5, 1234567890.5);
});

/** Everything of a folder, as text. */
function look(folder: string): string {
  const shown = execFileSync('find', ['.', '-printf', '%p %y %m %U %G %n %T@ %l\n'], { cwd: folder, encoding: 'utf8' });
  const files = execFileSync('find', ['.', '-type', 'f'], { cwd: folder, encoding: 'utf8' }).trim().split('\n');
  const sums = files.map((file) => `${file} ${Bun.hash(readFileSync(join(folder, file)))}`);
  return [...shown.trim().split('\n'), ...sums].sort().join('\n');
}

function written(): string {
  const archive = join(WORK, 'own.tar.gz');
  const root = openSync(SOURCE, 'r');
  const to = openSync(archive, 'w');
  writeArchive(localFd(root), to, OUR_IDS);
  closeSync(root);
  closeSync(to);
  return archive;
}

function read(archive: string, name: string): string {
  const folder = join(WORK, name);
  mkdirSync(folder);
  const root = openSync(folder, 'r');
  const from = openSync(archive, 'r');
  try {
    readArchive(localFd(from), localFd(root), OUR_IDS);
  } finally {
    closeSync(root);
    closeSync(from);
  }
  return folder;
}

describe('an archive', () => {
  test('is read by Stasis', () => {
    const folder = read(written(), 'read');
    expect(look(folder)).toBe(look(SOURCE));
    const blocks = execFileSync('stat', ['-c', '%b', join(folder, 'sparse')], { encoding: 'utf8' });
    expect(Number(blocks)).toBeLessThan(100);
  });

  test('is read by GNU tar', () => {
    const folder = join(WORK, 'extracted');
    mkdirSync(folder);
    execFileSync('tar', ['--extract', '--gzip', '--no-unquote', '--no-wildcards', '--directory', folder], {
      input: readFileSync(written()),
    });
    expect(look(folder)).toBe(look(SOURCE));
  });

  test.each(['gnu', 'posix', 'posix --sparse-version=0.1', 'oldgnu'])('of GNU tar is read: %s', (format) => {
    const archive = join(WORK, 'gnu.tar.gz');
    const options = ['--create', '--gzip', '--sparse', '--numeric-owner', ...`--format=${format}`.split(' ')];
    execFileSync('tar', [...options, '--file', archive, '--directory', SOURCE, '.']);
    const folder = read(archive, `of-${format}`);
    const whole = (text: string): string => text.replaceAll(/(\d{9,})\.\d+/g, '$1');
    expect(whole(look(folder))).toBe(whole(look(SOURCE)));
  });

  test('that is damaged or cut is refused', () => {
    const bytes = gunzipSync(readFileSync(written()));
    const file = join(WORK, 'bad.tar.gz');
    writeFileSync(file, gzipSync(bytes.subarray(0, 512 * 5 + 100)));
    expect(() => read(file, 'cut')).toThrow('ends too early');
    bytes[130] = (bytes[130] as number) ^ 1;
    writeFileSync(file, gzipSync(bytes));
    expect(() => read(file, 'damaged')).toThrow('a header is damaged');
    writeFileSync(file, 'nothing compressed, and long enough for a header');
    expect(() => read(file, 'other')).toThrow('a compressed file is damaged');
  });

  test('that leads out of its folder is refused', () => {
    const archive = join(WORK, 'evil.tar.gz');
    execFileSync('tar', ['-czPf', archive, '--transform', 's,^empty$,../out,', '-C', SOURCE, 'empty']);
    expect(() => read(archive, 'evil')).toThrow('leads out of it');
  });
});

test('records of pax tell their own length', () => {
  for (const length of [1, 5, 88, 89, 90, 91, 92, 988, 989, 990, 991, 992]) {
    const value = new Uint8Array(length).fill(120);
    const bytes = encodePax([['key', value]]);
    expect(Number.parseInt(Buffer.from(bytes).toString(), 10)).toBe(bytes.length);
    expect(decodePax(bytes)).toEqual(new Map([['key', value]]));
  }
});
