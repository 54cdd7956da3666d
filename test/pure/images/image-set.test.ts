/** Folders of images: what is written, what is left behind, where pages are. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StasisError } from '../../../src/base/errors.ts';
import { ImageError } from '../../../src/images/error.ts';
import { writeWhole } from '../../../src/images/image-files.ts';
import { ImageSet } from '../../../src/images/image-set.ts';
import { ImageSetWriter } from '../../../src/images/image-set-writer.ts';
import { imageName } from '../../../src/images/kind.ts';
import { Images } from '../../../src/images/kinds.ts';
import { PageFlags, type PageRun, readPagemap, writePagemap } from '../../../src/images/pagemap.ts';
import { findPiece, storedPieces } from '../../../src/support/page-store.ts';
import { FIXTURES, thrownBy } from './fixtures.ts';

const inventory = { img_version: 2 };
const init = { pid: 1, ppid: 0, pgid: 1, sid: 1, threads: [1] };
const { PARENT, LAZY, PRESENT } = PageFlags;
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-images-'));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('names', () => {
  expect(imageName(Images.core, 17)).toBe('core-17.img');
  expect(imageName(Images.ghostFile, 26)).toBe('ghost-file-1a.img');
  expect(imageName(Images.tcpStream, 0x25f45dn)).toBe('tcp-stream-25f45d.img');
  expect(imageName(Images.tmpfsDev, 50)).toBe('tmpfs-dev-50.tar.gz.img');
  expect(imageName(Images.pstree)).toBe('pstree.img');
  expect(imageName(Images.stats, 'dump')).toBe('stats-dump');
  expect(imageName(Images.irmapCache)).toBe('irmap-cache');
});

describe('writing a set', () => {
  test('the inventory is written last, and makes it complete', () => {
    using images = new ImageSetWriter(dir);
    images.write(Images.pstree, undefined, [init]);
    images.writeEntries(Images.pipesData, undefined, [
      { message: { pipe_id: 1, bytes: 2 }, payload: Uint8Array.of(8, 9) },
    ]);
    images.put('stasis-more', Uint8Array.of(1));
    expect(thrownBy(() => new ImageSet(dir).inventory())).toBeInstanceOf(ImageError);
    images.commit(inventory);
    const set = new ImageSet(dir);
    expect(set.inventory().img_version).toBe(2);
    expect(set.read(Images.pstree)).toEqual([init]);
    expect(set.readEntries(Images.pipesData)).toMatchObject([
      { message: { pipe_id: 1 }, payload: Uint8Array.of(8, 9) },
    ]);
    expect(set.read(Images.ttyInfo)).toEqual([]);
  });

  test('without a commit nothing remains', () => {
    const work = () => {
      using images = new ImageSetWriter(dir);
      images.write(Images.pstree, undefined, [init]);
      images.create('pages-1.img');
      throw new Error('the dump failed');
    };
    expect(thrownBy(work)).toHaveProperty('message', 'the dump failed');
    expect(readdirSync(dir)).toEqual([]);
  });

  test('an earlier dump is not touched before the first write, and does not show through after the last', () => {
    writeFileSync(`${dir}/inventory.img`, 'old');
    writeFileSync(`${dir}/tty-info.img`, 'old');
    writeFileSync(`${dir}/cgroup.img`, 'old');
    writeFileSync(`${dir}/pstree.img`, 'old and much longer than what comes in its place');
    writeFileSync(`${dir}/dump.log`, 'a file that is no image');
    using images = new ImageSetWriter(dir);
    expect(existsSync(`${dir}/inventory.img`)).toBe(true);
    images.write(Images.pstree, undefined, [init]);
    expect(existsSync(`${dir}/inventory.img`)).toBe(false);
    images.write(Images.ttyInfo, undefined, []);
    expect(existsSync(`${dir}/tty-info.img`)).toBe(false);
    images.commit(inventory);
    expect(readdirSync(dir).sort()).toEqual(['dump.log', 'inventory.img', 'pstree.img', 'stasis-manifest.json']);
    expect(new ImageSet(dir).read(Images.pstree)).toEqual([init]);
  });

  test('what an earlier dump kept beside its images goes too', () => {
    writeFileSync(join(dir, 'stasis-files.jsonl'), 'old');
    writeFileSync(join(dir, 'stasis-task-1.json'), 'old');
    writeFileSync(join(dir, 'somebody-elses'), 'old');
    using writer = new ImageSetWriter(dir);
    writer.put('stasis-task-1.json', new Uint8Array([1]));
    writer.commit(inventory);
    expect(readdirSync(dir).sort()).toEqual([
      'inventory.img',
      'somebody-elses',
      'stasis-manifest.json',
      'stasis-task-1.json',
    ]);
  });

  test('images with other IDs go, but for pages, which a page server may have written', () => {
    const left = ['mountpoints-9.img', 'nftables-9.img', 'tmpfs-dev-55.tar.gz.img', 'ghost-file-1a.img', 'core-7.img'];
    const kept = ['pagemap-7.img', 'pagemap-shmem-8.img', 'pages-3.img', 'stats-dump', 'fs-notes.img', 'core-.img'];
    for (const name of [...left, ...kept, 'core-1.img']) writeFileSync(join(dir, name), 'old');
    using writer = new ImageSetWriter(dir);
    writer.put('core-1.img', new Uint8Array([1]));
    writer.commit(inventory);
    expect(readdirSync(dir).sort()).toEqual(
      [...kept, 'core-1.img', 'inventory.img', 'stasis-manifest.json'].toSorted(),
    );
  });

  test('the names of a set are those of its manifest, else all in the folder', () => {
    writeFileSync(join(dir, 'mountpoints-9.img'), 'of an earlier dump');
    using writer = new ImageSetWriter(dir);
    writer.put('core-1.img', new Uint8Array([1]));
    writer.commit(inventory);
    writeFileSync(join(dir, 'mountpoints-9.img'), 'of an earlier dump');
    expect([...new ImageSet(dir).names()].sort()).toEqual(['core-1.img', 'inventory.img']);
    rmSync(join(dir, 'stasis-manifest.json'));
    expect([...new ImageSet(dir).names()].sort()).toEqual(['core-1.img', 'inventory.img', 'mountpoints-9.img']);
  });

  test('an image written twice holds what came last', () => {
    using images = new ImageSetWriter(dir);
    images.write(Images.pstree, undefined, [init, init]);
    images.write(Images.pstree, undefined, [init]);
    images.commit(inventory);
    expect(new ImageSet(dir).read(Images.pstree)).toHaveLength(1);
  });

  test('a link left under an image name is not followed', () => {
    writeFileSync(`${dir}/precious`, 'precious');
    symlinkSync(`${dir}/precious`, `${dir}/pstree.img`);
    using images = new ImageSetWriter(dir);
    images.write(Images.pstree, undefined, [init]);
    images.commit(inventory);
    expect(readFileSync(`${dir}/precious`, 'utf8')).toBe('precious');
  });

  test('a place that cannot be written to is a clear error', () => {
    const error = thrownBy(() => writeWhole('/dev/full/x', Uint8Array.of(1))) as StasisError;
    expect(error).toBeInstanceOf(StasisError);
    expect(error.kind).toBe('io');
  });
});

describe('reading a set', () => {
  const set = new ImageSet(`${FIXTURES}tree`);

  test('recorded images', () => {
    expect(set.inventory().dump_criu_run_id).toMatch(/^[-0-9a-f]{36}$/);
    const tasks = set.read(Images.pstree);
    expect(tasks).toHaveLength(7);
    expect(set.readOne(Images.core, tasks[0]?.pid).tc?.comm).toBe('tree');
    const ghost = set.readHeaded(Images.ghostFile, 1);
    expect(ghost?.head.message.mode).toBe(0o100600);
    expect(ghost?.head.payload).toBeInstanceOf(Uint8Array);
  });

  test('what is no image file', () => {
    execFileSync('mkfifo', [`${dir}/core-1.img`]);
    mkdirSync(`${dir}/core-2.img`);
    const images = new ImageSet(dir);
    expect(thrownBy(() => images.read(Images.core, 1))).toHaveProperty('reason', 'not a regular file');
    expect(thrownBy(() => images.read(Images.core, 2))).toHaveProperty('reason', 'not a regular file');
    execFileSync('truncate', ['-s', '20G', `${dir}/core-3.img`]);
    expect(thrownBy(() => images.read(Images.core, 3))).toHaveProperty('reason', 'absurd size: 21474836480 bytes');
    writeFileSync(`${dir}/core-4.img`, readFileSync(`${FIXTURES}tree/pstree.img`));
    expect((thrownBy(() => images.read(Images.core, 4)) as ImageError).reason).toMatch(/magic 0x50273030 where/);
    writeFileSync(`${dir}/core-5.img`, '');
    expect((thrownBy(() => images.read(Images.core, 5)) as ImageError).reason).toMatch(/4 bytes expected, 0 there/);
    expect((thrownBy(() => images.readOne(Images.core, 6)) as ImageError).reason).toMatch(/image is missing/);
  });
});

describe('pagemaps', () => {
  test('large ones are fast', () => {
    const runs = Array.from({ length: 200_000 }, (_, i) => ({
      start: 0x7f00_0000_0000 + i * 8192,
      pages: 1,
      flags: PRESENT,
    }));
    const began = process.cpuUsage(); // microseconds of our own: the machine may be busy with something else
    const map = readPagemap('x', writePagemap({ pagesId: 1, runs }));
    expect(process.cpuUsage(began).user).toBeLessThan(1_000_000);
    expect(map.runs).toEqual(runs);
  });

  test('addresses at the very end of the address space are exact', () => {
    const runs = [{ start: 0xffff_ffff_ff60_0000, pages: 1, flags: PRESENT }];
    expect(readPagemap('x', writePagemap({ pagesId: 1, runs })).runs).toEqual(runs);
  });

  test('entries of older versions', () => {
    const vaddr = 0x40_0000;
    using images = new ImageSetWriter(dir);
    images.writeHeaded(Images.pagemap, 1, { message: { pages_id: 7 } }, [
      { message: { vaddr, compat_nr_pages: 2 } },
      { message: { vaddr: vaddr + 0x2000, compat_nr_pages: 1, in_parent: true } },
      { message: { vaddr: vaddr + 0x3000, compat_nr_pages: 1, flags: LAZY } },
      { message: { vaddr: vaddr + 0x4000, compat_nr_pages: 0, flags: PRESENT, nr_pages: 5n } },
    ]);
    images.commit(inventory);
    expect(new ImageSet(dir).readPagemap(Images.pagemap, 1)).toEqual({
      pagesId: 7,
      runs: [
        { start: vaddr, pages: 2, flags: PRESENT },
        { start: vaddr + 0x2000, pages: 1, flags: PARENT },
        { start: vaddr + 0x3000, pages: 1, flags: LAZY },
        { start: vaddr + 0x4000, pages: 5, flags: PRESENT },
      ],
    });
  });

  test('refused: overlap, disorder, odd addresses, more pages than there can be', () => {
    const refused = (runs: PageRun[]) =>
      (thrownBy(() => readPagemap('pagemap-1.img', writePagemap({ pagesId: 1, runs }))) as ImageError).reason;
    const run = (start: number, pages: number) => ({ start, pages, flags: PRESENT });
    expect(refused([run(0x1000, 2), run(0x2000, 1)])).toMatch(/overlaps/);
    expect(refused([run(0x2000, 1), run(0x1000, 1)])).toMatch(/overlaps/);
    expect(refused([run(0x1001, 1)])).toMatch(/not aligned/);
    expect(refused([run(0x1000, 2 ** 53 - 1)])).toMatch(/do not fit/);
  });
});

describe('stored pages', () => {
  /** A set of one pagemap, its pages file of just the right size. */
  function makeSet(path: string, runs: PageRun[], parent?: string): ImageSet {
    mkdirSync(path, { recursive: true });
    const present = runs.filter((run) => run.flags & PRESENT).reduce((sum, run) => sum + run.pages, 0);
    using images = new ImageSetWriter(path);
    images.writePagemap(Images.pagemap, 1, { pagesId: 1, runs });
    images.put('pages-1.img', new Uint8Array(present * 4096));
    images.commit(inventory);
    if (parent) symlinkSync(parent, `${path}/parent`);
    return new ImageSet(path);
  }

  test('are found through three generations', () => {
    makeSet(`${dir}/1`, [{ start: 0x1000, pages: 8, flags: PRESENT }]);
    makeSet(
      `${dir}/2`,
      [
        { start: 0x1000, pages: 4, flags: PARENT },
        { start: 0x5000, pages: 2, flags: PRESENT },
        { start: 0x7000, pages: 2, flags: PARENT },
      ],
      '../1',
    );
    const set = makeSet(
      `${dir}/3`,
      [
        { start: 0x1000, pages: 1, flags: PRESENT },
        { start: 0x2000, pages: 6, flags: PARENT },
        { start: 0x9000, pages: 1, flags: LAZY },
        { start: 0xa000, pages: 1, flags: PRESENT },
      ],
      '../2',
    );
    const pieces = storedPieces(set, Images.pagemap, 1) ?? [];
    const file = (generation: string) => `${dir}/3/${generation}pages-1.img`;
    expect(pieces).toEqual([
      { start: 0x1000, length: 0x1000, file: file(''), offset: 0 },
      { start: 0x2000, length: 0x3000, file: file('parent/parent/'), offset: 0x1000 },
      { start: 0x5000, length: 0x2000, file: file('parent/'), offset: 0 },
      { start: 0x7000, length: 0x1000, file: file('parent/parent/'), offset: 0x6000 },
      { start: 0xa000, length: 0x1000, file: file(''), offset: 0x1000 },
    ]);
    expect(findPiece(pieces, 0x4fff)).toBe(pieces[1] as never);
    expect(findPiece(pieces, 0x9000)).toBeUndefined();
    expect(findPiece(pieces, 0)).toBeUndefined();
    expect(storedPieces(set, Images.pagemap, 2)).toBeUndefined();
  });

  test('neighbours are joined', () => {
    const runs = [1, 2, 3].map((page) => ({ start: page * 4096, pages: 1, flags: PRESENT }));
    expect(storedPieces(makeSet(`${dir}/1`, runs), Images.pagemap, 1)).toMatchObject([
      { start: 4096, length: 3 * 4096 },
    ]);
  });

  test('that are missing are an error before any process exists', () => {
    const orphan = makeSet(`${dir}/1`, [{ start: 0x1000, pages: 1, flags: PARENT }]);
    expect((thrownBy(() => storedPieces(orphan, Images.pagemap, 1)) as ImageError).reason).toMatch(
      /there is no .*parent/,
    );
    const short = makeSet(`${dir}/2`, [{ start: 0x1000, pages: 2, flags: PRESENT }]);
    writeFileSync(`${dir}/2/pages-1.img`, new Uint8Array(4096));
    expect((thrownBy(() => storedPieces(short, Images.pagemap, 1)) as ImageError).reason).toMatch(
      /4096 bytes where .* 8192/,
    );
    writeFileSync(`${dir}/2/pages-1.img`, new Uint8Array(3 * 4096));
    expect((thrownBy(() => storedPieces(short, Images.pagemap, 1)) as ImageError).reason).toMatch(
      /12288 bytes where .* 8192/,
    );
    rmSync(`${dir}/2/pages-1.img`);
    expect((thrownBy(() => storedPieces(short, Images.pagemap, 1)) as ImageError).reason).toMatch(/missing/);
    const loop = makeSet(`${dir}/3`, [{ start: 0x1000, pages: 1, flags: PARENT }], '.');
    expect((thrownBy(() => storedPieces(loop, Images.pagemap, 1)) as ImageError).reason).toMatch(/its own parent/);
  });
});
