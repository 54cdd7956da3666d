import { describe, expect, test } from 'bun:test';
import { PAGE_SIZE } from '../../../src/arch/page-size.ts';
import { inRecords } from '../../../src/cli/relay.ts';
import { PageFlags } from '../../../src/images/pagemap.ts';
import { MESSAGE_SIZE, PS, putMessage } from '../../../src/memory/page-server/protocol.ts';

function message(command: number, flags = 0, pages = 0): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_SIZE);
  putMessage(new DataView(bytes.buffer), 0, { command, flags, pages, start: 0, target: 1n });
  return bytes;
}

async function* cut(bytes: Uint8Array, next: () => number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(next(), bytes.length - at);
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

describe('what goes to a page server, in records of TLS', () => {
  const parts = [
    message(PS.OPEN2),
    message(PS.ADD_F, PageFlags.PRESENT, 5),
    new Uint8Array(5 * PAGE_SIZE).fill(1),
    message(PS.ADD_F, PageFlags.PARENT, 3),
    message(PS.ADD_F, PageFlags.PRESENT | PageFlags.LAZY, 1),
    new Uint8Array(PAGE_SIZE).fill(2),
    message(PS.CLOSE),
  ];
  const whole = new Uint8Array(Buffer.concat(parts));

  test.each([
    ['all at once', () => whole.length],
    ['byte by byte', () => 1],
    ['in any pieces', () => 1 + Math.floor(Math.random() * 9000)],
  ])('%s: no record has a part of a message and of pages, or of two', async (_, next) => {
    const records: Uint8Array[] = [];
    for await (const record of inRecords(cut(whole, next))) records.push(record);
    expect(new Uint8Array(Buffer.concat(records))).toEqual(whole);
    const borders = new Set<number>();
    let border = 0;
    for (const { length } of parts) {
      border += length;
      borders.add(border);
    }
    const ends = new Set<number>();
    let end = 0;
    for (const { length } of records) {
      expect(length).toBeLessThanOrEqual(16_384);
      end += length;
      ends.add(end);
    }
    for (const one of borders) expect(ends.has(one)).toBe(true);
  });
});
