/** The store of snapshots: what is equal is there once, what is damaged is told, what is not needed goes. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StasisError } from '../../../src/base/errors.ts';
import { ImageError } from '../../../src/images/error.ts';
import { ImageSetWriter } from '../../../src/images/image-set-writer.ts';
import { Images } from '../../../src/images/kinds.ts';
import { DigestMap } from '../../../src/store/digest-map.ts';
import { digestOf } from '../../../src/store/packs.ts';
import { Store } from '../../../src/store/store.ts';
import { leavesOf, type Root, TreeWriter } from '../../../src/store/tree.ts';
import { generator } from '../damage.ts';
import { thrownBy } from '../images/fixtures.ts';

const PAGE = 4096;
/** In memory where that is possible: a store waits for the disk after each change, for seconds if that is busy. */
const PLACE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
let dir: string;
let store: string;

beforeEach(() => {
  dir = mkdtempSync(join(PLACE, 'stasis-store-'));
  store = join(dir, 'store');
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function pages(count: number, seed: number): Uint8Array {
  const random = generator(seed);
  const bytes = new Uint8Array(count * PAGE);
  for (let at = 0; at < bytes.length; at += 4) bytes[at] = random(256);
  return bytes;
}

/** A folder of images with these page contents. */
function images(name: string, content: Uint8Array, parent?: string): string {
  const folder = join(dir, name);
  mkdirSync(folder);
  using writer = new ImageSetWriter(folder);
  writer.write(Images.pstree, undefined, [{ pid: 1, ppid: 0, pgid: 1, sid: 1, threads: [1] }]);
  writer.put('stasis-note', Buffer.from(name));
  writer.commit({ img_version: 2 });
  writeFileSync(join(folder, 'pages-1.img'), content);
  if (parent !== undefined) symlinkSync(parent, join(folder, 'parent'));
  return folder;
}

function add(name: string, folder: string): { size: number; fresh: number } {
  using open = Store.open(store, true);
  return open.add(name, folder, 0);
}

function get(name: string): string {
  const folder = join(dir, `got-${name}-${readdirSync(dir).length}`);
  using open = Store.open(store, false);
  open.get(name, folder);
  return folder;
}

function collect(): { freed: number; kept: number } {
  using open = Store.open(store, true);
  return open.collect();
}

function remove(name: string): void {
  using open = Store.open(store, true);
  open.remove(name);
}

function check(): string[] {
  using open = Store.open(store, false);
  return open.check();
}

function requireSame(one: string, other: string): void {
  expect(execFileSync('diff', ['-r', one, other], { encoding: 'utf8' })).toBe('');
}

function packs(): string[] {
  return readdirSync(join(store, 'packs')).filter((name) => name.endsWith('.pack'));
}

describe('a table of digests', () => {
  test('finds what was added, and nothing else, however many there are', () => {
    const map = new DigestMap();
    const digests = Array.from({ length: 5000 }, (_, i) => digestOf(Buffer.from(`${i}`)));
    digests.forEach((digest, i) => {
      expect(map.find(digest)).toBe(-1);
      expect(map.add(digest, { pack: i % 7, offset: i * 2 ** 33, length: i })).toBe(i);
    });
    digests.forEach((digest, i) => {
      expect(map.find(digest)).toBe(i);
      expect(map.placeOf(i)).toEqual({ pack: i % 7, offset: i * 2 ** 33, length: i });
      expect(map.digestOf(i)).toEqual(new Uint8Array(digest));
    });
  });

  test('digests that lead to the same place', () => {
    const map = new DigestMap();
    const digests = Array.from({ length: 300 }, (_, i) =>
      new Uint8Array(32)
        .fill(7)
        .fill(i, 30)
        .fill(i >> 8, 31),
    );
    digests.forEach((digest, i) => void map.add(digest, { pack: 0, offset: i, length: 1 }));
    digests.forEach((digest, i) => void expect(map.find(digest)).toBe(i));
  });
});

describe('a tree of digests', () => {
  const nodes = new Map<string, Uint8Array>();
  const put = (node: Uint8Array): Uint8Array => {
    const digest = digestOf(node);
    nodes.set(Buffer.from(digest).toString('hex'), node);
    return digest;
  };
  const made = (leaves: readonly Uint8Array[]): Root | undefined => {
    const tree = new TreeWriter(put);
    for (const leaf of leaves) tree.add(leaf);
    return tree.finish();
  };
  const leaf = (i: number): Uint8Array => digestOf(Buffer.from(`${i}`));
  const read = (root: Root | undefined): Uint8Array[] =>
    root ? [...leavesOf(root, (digest) => nodes.get(Buffer.from(digest).toString('hex')) ?? new Uint8Array(1))] : [];

  test.each([0, 1, 2, 15, 16, 17, 300, 4096, 4097, 30_000])('of %d', (count) => {
    const leaves = Array.from({ length: count }, (_, i) => leaf(i));
    expect(read(made(leaves))).toEqual(leaves);
  });

  test('of the same again and again, whatever that is', () => {
    for (const seed of [1, 2, 3]) {
      const ends = new Uint8Array(digestOf(Buffer.from(`${seed}`)));
      ends[31] = seed === 1 ? 0 : (ends[31] as number) | 1;
      const leaves = Array.from({ length: 20_000 }, () => ends);
      expect(read(made(leaves)).length).toBe(20_000);
    }
  });

  test('what is inserted changes few nodes', () => {
    const leaves = Array.from({ length: 50_000 }, (_, i) => leaf(i));
    made(leaves);
    const before = nodes.size;
    made([...leaves.slice(0, 20_000), leaf(-1), ...leaves.slice(20_000)]);
    expect(nodes.size - before).toBeLessThanOrEqual(8);
  });
});

describe('snapshots', () => {
  test('come out as they went in', () => {
    const content = pages(700, 1);
    content.fill(0, 10 * PAGE, 500 * PAGE);
    const folder = images('a', content);
    const { size, fresh } = add('a', folder);
    expect(size).toBeGreaterThan(700 * PAGE);
    expect(fresh).toBeLessThan(220 * PAGE);
    const got = get('a');
    requireSame(folder, got);
    expect(statSync(join(got, 'pages-1.img')).blocks * 512).toBeLessThan(400 * PAGE);
    expect(statSync(join(got, 'pages-1.img')).mode & 0o777).toBe(statSync(join(folder, 'pages-1.img')).mode & 0o777);
    expect(statSync(store).mode & 0o77).toBe(0);
    expect(check()).toEqual([]);
  });

  test('cost what differs', () => {
    const content = pages(5000, 2);
    add('0', images('0', content));
    const first = packs().reduce((sum, name) => sum + statSync(join(store, 'packs', name)).size, 0);
    for (let i = 1; i <= 10; i++) {
      content.set(pages(3, 100 + i), i * 200 * PAGE);
      const { fresh } = add(`${i}`, images(`${i}`, content));
      expect(fresh).toBeLessThan(3 * PAGE + 30_000);
    }
    const all = packs().reduce((sum, name) => sum + statSync(join(store, 'packs', name)).size, 0);
    expect(all - first).toBeLessThan(10 * (3 * PAGE + 30_000));
    requireSame(join(dir, '7'), get('7'));
    requireSame(join(dir, '10'), get('10'));
  });

  test('with those of earlier dumps', () => {
    images('first', pages(20, 3));
    images('second', pages(20, 4), '../first');
    const third = images('third', pages(20, 5), '../second');
    add('chain', third);
    const got = get('chain');
    requireSame(third, got);
    expect(readFileSync(join(got, 'parent/parent/stasis-note'), 'utf8')).toBe('first');
  });

  test('what is removed goes, what others have stays', () => {
    const common = pages(600, 6);
    const folder = images('a', common);
    add('a', folder);
    add('b', images('b', Buffer.concat([pages(2000, 7), common])));
    expect(collect().freed).toBe(0);
    remove('b');
    expect(collect().freed).toBeGreaterThan(1900 * PAGE);
    expect(collect().freed).toBe(0);
    requireSame(folder, get('a'));
    remove('a');
    expect(collect().kept).toBe(0);
    expect(packs()).toEqual([]);
    expect(check()).toEqual([]);
  });

  test('small packs are put together', () => {
    for (let i = 0; i < 6; i++) add(`${i}`, images(`${i}`, pages(3, 50 + i)));
    expect(packs().length).toBe(6);
    collect();
    expect(packs().length).toBe(1);
    for (let i = 0; i < 6; i++) requireSame(join(dir, `${i}`), get(`${i}`));
  });
});

describe('what is refused', () => {
  const code = (work: () => unknown): string => (thrownBy(work) as StasisError).code;

  test('a folder that is something else', () => {
    mkdirSync(store);
    writeFileSync(join(store, 'letter'), '');
    expect(code(() => Store.open(store, true))).toBe('USAGE');
    expect(code(() => Store.open(join(dir, 'none'), false))).toBe('USAGE');
    expect(readdirSync(store)).toEqual(['letter']);
  });

  test('names that are taken, or none', () => {
    const folder = images('a', pages(1, 8));
    add('a', folder);
    expect(code(() => add('a', folder))).toBe('CONFLICT');
    for (const name of ['../a', '.a', 'a/b', '', 'x'.repeat(201)]) {
      expect(code(() => add(name, folder))).toBe('USAGE');
      expect(code(() => get(name))).toBe('USAGE');
    }
    expect(code(() => get('b'))).toBe('USAGE');
    expect(code(() => remove('b'))).toBe('USAGE');
  });

  test('images that are not complete', () => {
    mkdirSync(join(dir, 'empty'));
    expect(thrownBy(() => add('a', join(dir, 'empty')))).toBeInstanceOf(ImageError);
    const damaged = images('damaged', pages(1, 9));
    writeFileSync(join(damaged, 'pstree.img'), 'other');
    expect(thrownBy(() => add('a', damaged))).toBeInstanceOf(StasisError);
    expect(code(() => add('a', images('orphan', pages(1, 9), '../gone')))).toBe('IMAGE');
    const odd = images('odd', pages(1, 9));
    mkdirSync(join(odd, 'more'));
    expect(code(() => add('a', odd))).toBe('IMAGE');
    expect(packs()).toEqual([]);
  });

  test('a folder that is not empty', () => {
    add('a', images('a', pages(1, 10)));
    using open = Store.open(store, false);
    expect(code(() => open.get('a', join(dir, 'a')))).toBe('USAGE');
    expect(existsSync(join(dir, 'a/inventory.img'))).toBe(true);
  });

  test('any byte that was changed', () => {
    add('a', images('a', pages(300, 11)));
    const [pack = ''] = packs();
    const random = generator(12);
    for (const file of [pack, pack.replace('.pack', '.index')]) {
      const path = join(store, 'packs', file);
      const sound = readFileSync(path);
      for (let i = 0; i < 10; i++) {
        const bytes = Buffer.from(sound);
        const at = random(bytes.length);
        bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        writeFileSync(path, bytes);
        const told = ((): unknown => {
          try {
            return check();
          } catch (error) {
            return error;
          }
        })();
        expect(told instanceof ImageError || (Array.isArray(told) && told.length > 0)).toBe(true);
        const folder = join(dir, `got-${file}-${i}`);
        using open = Store.open(store, false);
        expect(thrownBy(() => open.get('a', folder))).toBeInstanceOf(ImageError);
        expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
      }
      writeFileSync(path, sound);
    }
    expect(check()).toEqual([]);
  });

  test('a damaged snapshot, also one that leads elsewhere', () => {
    add('a', images('a', pages(1, 13)));
    const path = join(store, 'snapshots/a.json');
    const text = readFileSync(path, 'utf8');
    for (const other of [text.slice(0, 50), text.replace('pages-1.img', '../../x'), text.replace('"mode":', '"m":')]) {
      writeFileSync(path, other);
      expect(thrownBy(() => get('a'))).toBeInstanceOf(ImageError);
      expect(thrownBy(() => collect())).toBeInstanceOf(ImageError);
    }
    writeFileSync(path, text);
    expect(collect().freed).toBe(0);
  });
});

test('what somebody who was killed has left goes', () => {
  const folder = images('a', pages(4, 14));
  add('a', folder);
  for (const name of ['00000007.pack', '00000007.index.new']) writeFileSync(join(store, 'packs', name), 'x');
  add('b', images('b', pages(4, 15)));
  expect(readdirSync(join(store, 'packs')).sort()).toEqual([
    '00000001.index',
    '00000001.pack',
    '00000002.index',
    '00000002.pack',
  ]);
  requireSame(folder, get('a'));
});
