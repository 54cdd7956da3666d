/** Damaged images: an ImageError, quickly, and nothing else. */
import { expect, test } from 'bun:test';
import { imageFromJson, imageToJson } from '../../../src/images/crit-json.ts';
import { ImageError } from '../../../src/images/error.ts';
import { decodeImage, encodeImage } from '../../../src/images/image.ts';
import { parseJson, printJson } from '../../../src/images/json.ts';
import { readPagemap } from '../../../src/images/pagemap.ts';
import { type Damage, damages, generator } from '../damage.ts';
import { type Recorded, recordedImages } from './fixtures.ts';

/** Reads damaged bytes every way there is. What can be read must survive being written and read again. */
function exercise(name: string, bytes: Uint8Array): 'read' | 'refused' {
  try {
    if (name.includes('/pagemap-')) readPagemap(name, bytes);
    const image = decodeImage(name, bytes);
    const again = encodeImage(image.kind, image.entries, name);
    expect(printJson(imageToJson(decodeImage(name, again)))).toBe(printJson(imageToJson(image)));
    return 'read';
  } catch (error) {
    if (!(error instanceof ImageError)) throw new Error(`${name}: ${error}`, { cause: error });
    return 'refused';
  }
}

test('20,000 damaged images', () => {
  const images: Recorded[] = recordedImages().filter(({ bytes }) => bytes.length < 3000);
  const random = generator(1);
  const before = process.memoryUsage().rss;
  const count = { read: 0, refused: 0 };
  for (let round = 0; round < 20_000; round++) {
    const { name, bytes } = images[random(images.length)] as Recorded;
    const damage = damages[random(damages.length)] as Damage;
    count[exercise(name, damage(bytes, random))]++;
  }
  expect(count.refused).toBeGreaterThan(10_000);
  expect(count.read).toBeGreaterThan(100);
  expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
}, 60_000);

test('every image cut at every byte', () => {
  for (const { name, bytes } of recordedImages()) {
    if (bytes.length > 600) continue;
    for (let length = 0; length < bytes.length; length++) exercise(name, bytes.subarray(0, length));
  }
}, 60_000);

test('5,000 damaged JSON texts', () => {
  const texts = recordedImages()
    .filter(({ bytes }) => bytes.length < 600)
    .map(({ name, bytes }) => printJson(imageToJson(decodeImage(name, bytes), { pretty: name.length % 2 === 0 })));
  const random = generator(2);
  const splinters = [
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '-1',
    '1e99',
    'null',
    'true',
    '18446744073709551616',
    '"x"',
    '\\',
    '|',
  ];
  let refused = 0;
  for (let round = 0; round < 5000; round++) {
    const text = texts[random(texts.length)] as string;
    const at = random(text.length);
    const damaged = text.slice(0, at) + splinters[random(splinters.length)] + text.slice(at + random(4));
    try {
      imageFromJson(parseJson(damaged, 'x'), 'x');
    } catch (error) {
      if (!(error instanceof ImageError)) throw new Error(`${error}: ${damaged}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(4000);
});

test('an announced size costs nothing', () => {
  // core-1.img with one entry of 4 GiB, and with a byte string of 4 GiB in a small entry.
  const head = [0x19, 0x43, 0x56, 0x54, 0x47, 0x38, 0x05, 0x55];
  const began = performance.now();
  for (let i = 0; i < 1000; i++) {
    expect(exercise('core', Uint8Array.from([...head, 0xff, 0xff, 0xff, 0xff]))).toBe('refused');
    expect(exercise('core', Uint8Array.from([...head, 6, 0, 0, 0, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f]))).toBe(
      'refused',
    );
  }
  expect(performance.now() - began).toBeLessThan(1000);
});
