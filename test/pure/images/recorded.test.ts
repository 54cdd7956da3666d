/** What criu 4.2 wrote, read and written again. */
import { describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { imageFromJson, imageToJson } from '../../../src/images/crit-json.ts';
import { decodeImage, encodeImage } from '../../../src/images/image.ts';
import { parseJson, printJson } from '../../../src/images/json.ts';
import { readPagemap, writePagemap } from '../../../src/images/pagemap.ts';
import { FIXTURES, recordedImages } from './fixtures.ts';

const images = recordedImages();
const upstream = new Map<string, string[]>(
  readFileSync(`${FIXTURES}crit-json.sha1`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([compact = '', pretty = '', short = '', name = '']) => [name, [compact, pretty, short]]),
);

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

test('there are images of 33 kinds', () => {
  expect(new Set(images.map(({ name, bytes }) => decodeImage(name, bytes).kind.name)).size).toBe(33);
  expect(upstream.size).toBe(images.length);
});

describe('every image', () => {
  for (const { name, bytes } of images) {
    test(name, () => {
      const image = decodeImage(name, bytes);
      expect(Buffer.compare(encodeImage(image.kind, image.entries), bytes)).toBe(0);

      const compact = printJson(imageToJson(image));
      const pretty = printJson(imageToJson(image, { pretty: true }), 4);
      const short = printJson(imageToJson(image, { pretty: true, withoutPayload: true }), 4);
      expect([compact, pretty, short].map(sha1)).toEqual(upstream.get(name) ?? []);
      for (const json of [compact, pretty]) {
        expect(Buffer.compare(imageFromJson(parseJson(json, name), name), bytes)).toBe(0);
      }
    });
  }
});

test('pagemaps read and written the fast way are the same', () => {
  const maps = images.filter(({ name }) => name.includes('/pagemap-'));
  expect(maps.length).toBeGreaterThan(5);
  for (const { name, bytes } of maps) {
    const fast = readPagemap(name, bytes);
    const [head, ...entries] = decodeImage(name, bytes).entries;
    expect(fast.pagesId).toBe(head?.message.pages_id as number);
    expect(fast.runs.map((run) => [BigInt(run.start), BigInt(run.pages), run.flags])).toEqual(
      entries.map(({ message }) => [message.vaddr, message.nr_pages, message.flags]) as never,
    );
    expect(Buffer.compare(writePagemap(fast), bytes)).toBe(0);
  }
});
