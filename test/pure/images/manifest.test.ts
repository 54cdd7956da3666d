/** The manifest of an image set: no file of a dump can be cut, changed or lost unnoticed. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checksum, checksumOf } from '../../../src/base/checksum.ts';
import { ImageError } from '../../../src/images/error.ts';
import { ImageSet } from '../../../src/images/image-set.ts';
import { ImageSetWriter } from '../../../src/images/image-set-writer.ts';
import { Images } from '../../../src/images/kinds.ts';
import { MANIFEST, readManifest } from '../../../src/images/manifest.ts';
import { PageFlags } from '../../../src/images/pagemap.ts';
import { thrownBy } from './fixtures.ts';

const RUN = '8f14e45f-ceea-467f-9575-7c1b6ab7d0d1';
const OTHER_RUN = '27b04a3c-91d2-4e08-b2c6-d0f38a15e94b';
const init = { pid: 1, ppid: 0, pgid: 1, sid: 1, threads: [1] };
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-manifest-'));
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A set with everything there is: images, page contents, a file others fill, one that grows, one of ours. */
function writeSet(run = RUN): void {
  using images = new ImageSetWriter(dir);
  images.write(Images.pstree, undefined, [init, { ...init, pid: 2 }]);
  images.writePagemap(Images.pagemap, 1, {
    pagesId: 1,
    runs: [{ start: 0x1000, pages: 1, flags: PageFlags.PRESENT }],
  });
  writeSync(images.create('pages-1.img'), new Uint8Array(4096));
  writeSync(images.create('ghost-file-1.img'), 'filled by somebody else');
  images.append('stasis-files.jsonl', Buffer.from('{}\n'));
  images.append('stasis-files.jsonl', Buffer.from('{"more":1}\n'));
  images.put('stasis-task-1.json', Buffer.from('{}\n'));
  images.commit({ img_version: 2, dump_criu_run_id: run });
}

const wholeness = (): string => new ImageSet(dir).wholeness();

function refusal(): ImageError {
  const error = thrownBy(wholeness);
  expect(error).toBeInstanceOf(ImageError);
  return error as ImageError;
}

describe('checksum', () => {
  test('as written down', () => {
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6);
    let hash = 0x9e3779b1;
    for (const word of [0x04030201, 0x0605]) {
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    expect(checksum(bytes)).toBe((hash >>> 0).toString(16).padStart(8, '0'));
    expect(checksum(new Uint8Array())).toBe('9e3779b1');
  });

  test('does not depend on where bytes lie, what came before, or the pieces they come in', () => {
    const bytes = Uint8Array.from({ length: 20_001 }, (_, i) => (i * 7919) >> 3);
    const sum = checksum(bytes);
    for (const shift of [1, 2, 3]) {
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      checksum(new Uint8Array(5000).fill(255));
      expect(checksum(moved.subarray(shift))).toBe(sum);
    }
    expect(checksumOf([bytes.subarray(0, 4), bytes.subarray(4, 12_000), bytes.subarray(12_000)])).toBe(sum);
  });

  test('every flipped bit is noticed', () => {
    for (const length of [1, 5, 4096, 4099]) {
      const bytes = new Uint8Array(length);
      const sum = checksum(bytes);
      for (let at = 0; at < length; at += length > 100 ? 61 : 1) {
        for (let bit = 0; bit < 8; bit++) {
          bytes[at] = 1 << bit;
          expect(checksum(bytes)).not.toBe(sum);
        }
        bytes[at] = 0;
      }
    }
  });
});

describe('a set', () => {
  test('as it was written is whole; the manifest tells of every file', () => {
    writeSet();
    expect(wholeness()).toBe('whole');
    const { run, files } = readManifest(readFileSync(join(dir, MANIFEST)));
    expect(run).toBe(RUN);
    const names = readdirSync(dir).filter((name) => name !== MANIFEST);
    expect([...files.keys()].sort()).toEqual(names.sort());
    for (const [name, { size, sum }] of files) {
      expect(size).toBe(statSync(join(dir, name)).size);
      expect(sum).toBe(name === 'pages-1.img' ? undefined : checksum(readFileSync(join(dir, name))));
    }
  });

  test('files beside it do not matter', () => {
    writeSet();
    for (const name of ['stats-dump', 'dump.log', 'tty-info.img']) writeFileSync(join(dir, name), 'x');
    expect(wholeness()).toBe('whole');
  });

  test('without a manifest is not judged', () => {
    writeSet();
    rmSync(join(dir, MANIFEST));
    writeFileSync(join(dir, 'pstree.img'), 'edited');
    expect(wholeness()).toBe('untold');
  });

  test('with a flipped bit, wherever it is, is refused', () => {
    writeSet();
    let seen = 0;
    for (const name of readdirSync(dir)) {
      if (name === 'pages-1.img') continue;
      const path = join(dir, name);
      const bytes = readFileSync(path);
      for (let at = 0; at < bytes.length; at++) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (bytes[at] as number) ^ (1 << (at % 8));
        writeFileSync(path, damaged);
        // In the manifest it may be an id no longer known, which does no harm; its sums and names are what counts.
        if (name === MANIFEST && bytes.indexOf(RUN) <= at && at < bytes.indexOf(RUN) + RUN.length) continue;
        refusal();
        seen++;
      }
      writeFileSync(path, bytes);
    }
    expect(seen).toBeGreaterThan(500);
    expect(wholeness()).toBe('whole');
  });

  test('with a file cut anywhere, or longer, or gone, is refused by name', () => {
    writeSet();
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      const bytes = readFileSync(path);
      for (let length = 0; length < bytes.length; length += name === 'pages-1.img' ? 512 : 1) {
        truncateSync(path, length);
        // All that a manifest loses first is the end of its line.
        if (name !== MANIFEST || length < bytes.length - 1) refusal();
        writeFileSync(path, bytes);
      }
      writeFileSync(path, Buffer.concat([bytes, Buffer.of(0)]));
      expect(refusal().file).toBe(name);
      writeFileSync(path, bytes);
      if (name === MANIFEST) continue;
      rmSync(path);
      const { file, remedy } = refusal();
      expect(file).toEndWith(name);
      if (name !== 'inventory.img') expect(remedy).toContain(`remove ${MANIFEST}`);
      writeFileSync(path, bytes);
    }
  });

  test('dumped into again has a new manifest', () => {
    writeSet();
    writeSet(OTHER_RUN);
    expect(wholeness()).toBe('whole');
  });

  test('that another program dumped over ours is not measured by our manifest', () => {
    writeSet();
    const manifest = readFileSync(join(dir, MANIFEST));
    writeSet(OTHER_RUN);
    writeFileSync(join(dir, MANIFEST), manifest);
    const set = new ImageSet(dir);
    expect(set.wholeness()).toBe('stale');
    expect(set.own('stasis-task-1.json')).toBeUndefined();
    expect(set.read(Images.pstree)).toHaveLength(2);
  });

  test('with an inventory edited or damaged is refused', () => {
    writeSet();
    const manifest = readFileSync(join(dir, MANIFEST));
    for (const inventory of [
      { img_version: 2, dump_criu_run_id: RUN, lsmtype: 1 },
      { img_version: 2, dump_criu_run_id: RUN.replace('8f14', 'cf04') },
    ]) {
      using images = new ImageSetWriter(dir);
      images.commit(inventory);
      writeFileSync(join(dir, MANIFEST), manifest);
      expect(refusal().file).toBe('inventory.img');
    }
  });

  test('whose manifest is not ours, or newer', () => {
    writeSet();
    for (const text of ['', 'null', '[]', '{"version":1}', '{"version":1,"run":"","files":[{}]}']) {
      writeFileSync(join(dir, MANIFEST), text);
      expect(refusal().reason).toMatch(/damaged/);
    }
    writeFileSync(join(dir, MANIFEST), '{"version":1,"run":"","files":[{"name":"../x","size":1,"sum":""}]}');
    expect(refusal().reason).toMatch(/damaged/);
    writeFileSync(join(dir, MANIFEST), `{"version":2,"run":"${RUN}","files":[]}`);
    expect(refusal().reason).toMatch(/2 is not known here/);
  });
});
