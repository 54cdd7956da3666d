/** Encrypted archives: what is read is what was written, or an error. */
import { describe, expect, test } from 'bun:test';
import { ImageError } from '../../../src/images/error.ts';
import { FRAME, HEADER_SIZE, isSealed, Opener, Sealer, TAG } from '../../../src/support/archive/seal.ts';
import { damages, generator } from '../damage.ts';

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const random = generator(3);
const CONTENT = Uint8Array.from({ length: 2 * FRAME + 1000 }, () => random(256));

function sealed(content: Uint8Array): Uint8Array {
  const sealer = new Sealer(KEY);
  const parts = [sealer.header];
  for (let at = 0; ; at += FRAME) {
    const isLast = at + FRAME >= content.length;
    parts.push(sealer.seal(content.subarray(at, at + FRAME), isLast));
    if (isLast) return new Uint8Array(Buffer.concat(parts));
  }
}

function opened(bytes: Uint8Array, key = KEY): Uint8Array {
  const opener = new Opener(key, bytes.subarray(0, HEADER_SIZE), 'x');
  const parts: Uint8Array[] = [];
  for (let at = HEADER_SIZE; ; at += FRAME + TAG) {
    const isLast = at + FRAME + TAG >= bytes.length;
    parts.push(opener.open(bytes.subarray(at, at + FRAME + TAG), isLast));
    if (isLast) return new Uint8Array(Buffer.concat(parts));
  }
}

test('it comes back, whatever its length', () => {
  for (const length of [0, 1, FRAME - 1, FRAME, FRAME + 1, CONTENT.length]) {
    const content = CONTENT.subarray(0, length);
    const bytes = sealed(content);
    expect(isSealed(bytes)).toBe(true);
    expect(Buffer.compare(opened(bytes), content)).toBe(0);
  }
});

test('two archives of the same have nothing in common but the first line', () => {
  const [one, other] = [sealed(CONTENT), sealed(CONTENT)];
  expect(Buffer.compare(one.subarray(16, 48), other.subarray(16, 48))).not.toBe(0);
  expect(
    Buffer.compare(one.subarray(HEADER_SIZE, HEADER_SIZE + 64), other.subarray(HEADER_SIZE, HEADER_SIZE + 64)),
  ).not.toBe(0);
});

describe('an error', () => {
  const bytes = sealed(CONTENT);
  const frame = (i: number): Uint8Array =>
    bytes.subarray(HEADER_SIZE + i * (FRAME + TAG), HEADER_SIZE + (i + 1) * (FRAME + TAG));
  const header = bytes.subarray(0, HEADER_SIZE);
  const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
  for (const [what, changed, reason] of [
    ['frames exchanged', joined(header, frame(1), frame(0), frame(2)), /frame 0 is not what was written/],
    ['a frame missing', joined(header, frame(0), frame(2)), /frame 1/],
    ['the last frame missing', joined(header, frame(0), frame(1)), /frame 1/],
    ['all frames missing', header, /frame 0/],
    ['a frame twice', joined(header, frame(0), frame(1), frame(1), frame(2)), /frame 2/],
    ['something behind it', joined(bytes, new Uint8Array(20)), /frame 2/],
    ['the header of another one', joined(new Sealer(KEY).header, bytes.subarray(HEADER_SIZE)), /frame 0/],
  ] as const) {
    test(what, () => expect(() => opened(changed)).toThrow(reason));
  }

  test('another key', () => {
    expect(() =>
      opened(
        bytes,
        KEY.map((byte) => byte ^ 1),
      ),
    ).toThrow(/another key, or damaged/);
  });

  test('whatever the damage', () => {
    const small = sealed(CONTENT.subarray(0, 3000));
    for (let round = 0; round < 1200; round++) {
      const damaged = (damages[round % damages.length] as (typeof damages)[number])(small, random);
      if (Buffer.compare(damaged, small) === 0) continue;
      expect(() => opened(damaged)).toThrow(ImageError);
    }
  });
});
