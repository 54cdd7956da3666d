import { describe, expect, test } from 'bun:test';
import { PageFlags } from '../../../../src/images/pagemap.ts';
import {
  flagsOfAdded,
  getMessage,
  MESSAGE_SIZE,
  PS,
  putMessage,
  targetId,
  targetOf,
  whyNoPages,
} from '../../../../src/memory/page-server/protocol.ts';

const view = (): DataView => new DataView(new ArrayBuffer(MESSAGE_SIZE));

describe('messages', () => {
  test('are the bytes of CRIU 4.2', () => {
    const into = view();
    const target = targetId({ of: 'task', id: 0x1234n });
    putMessage(into, 0, { command: PS.ADD_F, flags: PageFlags.PRESENT, pages: 3, start: 0x7f12_3456_7000, target });
    expect(Buffer.from(into.buffer).toString('hex')).toBe(
      ['06000400', '00000000', '0300000000000000', '00705634127f0000', '0134120000000000'].join(''),
    );
  });

  test('are read as they were written', () => {
    const into = view();
    const target = targetId({ of: 'segment', id: 2n ** 40n + 5n });
    const message = { command: PS.FORCE_CLOSE, flags: 0xffff, pages: 2 ** 40, start: 2 ** 63 - 4096, target };
    putMessage(into, 0, message);
    expect(getMessage(into, 0)).toEqual({ ...message, start: 2 ** 63 - 4096 });
    putMessage(into, 0, { command: PS.CLOSE, target: 0n });
    expect(getMessage(into, 0)).toEqual({ command: PS.CLOSE, flags: 0, pages: 0, start: 0, target: 0n });
  });

  test('imply flags where older commands are used', () => {
    const message = { flags: PageFlags.LAZY, pages: 1, start: 0, target: 0n };
    expect(flagsOfAdded({ ...message, command: PS.ADD_F })).toBe(PageFlags.LAZY);
    expect(flagsOfAdded({ ...message, command: PS.ADD })).toBe(PageFlags.PRESENT);
    expect(flagsOfAdded({ ...message, command: PS.HOLE })).toBe(PageFlags.PARENT);
    expect(flagsOfAdded({ ...message, command: PS.OPEN2 })).toBeUndefined();
  });
});

describe('targets', () => {
  test.each(['task', 'segment'] as const)('%s', (of) => {
    for (const id of [1n, 255n, 256n, 4711n, 2n ** 55n]) expect(targetOf(targetId({ of, id }))).toEqual({ of, id });
  });

  test('of older versions', () => {
    expect(targetOf((7n << 8n) | 11n)).toEqual({ of: 'task', id: 7n });
    expect(targetOf((7n << 8n) | 34n)).toEqual({ of: 'segment', id: 7n });
  });

  test('that are none', () => {
    for (const type of [0n, 3n, 9n, 12n, 30n, 35n, 255n]) expect(targetOf((7n << 8n) | type)).toBeUndefined();
  });
});

describe('pages', () => {
  const why = (start: number, pages: number, flags: number = PageFlags.PRESENT, free = 0): string | undefined =>
    whyNoPages({ command: PS.ADD_F, flags, pages, start, target: 0n }, flags, free);

  test('that make sense', () => {
    expect(why(0x1000, 1)).toBeUndefined();
    expect(why(0x3000, 1, PageFlags.PARENT, 0x3000)).toBeUndefined();
    expect(why(0x3000, 1, PageFlags.PRESENT | PageFlags.LAZY)).toBeUndefined();
    expect(why(0, 2 ** 30, PageFlags.LAZY)).toBeUndefined();
  });

  test('that do not', () => {
    expect(why(0x1000, 0)).toMatch(/no pages/);
    expect(why(0x1001, 1)).toMatch(/aligned/);
    expect(why(0x1000, 1, PageFlags.PRESENT, 0x2000)).toMatch(/after those/);
    expect(why(0x1000, 1, 0)).toMatch(/flags 0/);
    expect(why(0x1000, 1, 8)).toMatch(/flags 8/);
    expect(why(0x1000, 1, PageFlags.PRESENT | PageFlags.PARENT)).toMatch(/flags 5/);
    expect(why(0x1000, 2 ** 64)).toMatch(/address space/);
    expect(why(2 ** 64 - 4096, 1)).toMatch(/address space/);
  });
});
