/** The kernel's description of its types, and programs of eBPF: with types and instructions made by hand. */
import { describe, expect, test } from 'bun:test';
import { BpfProgram } from '../../../src/kernel/bpf-program.ts';
import { Btf } from '../../../src/kernel/btf.ts';

/** `int`, `struct pair { int a; struct { int b, c : 4; }; }`, `func`, as `pahole` would write them. */
function example(): Uint8Array {
  const strings = '\0int\0pair\0a\0b\0c\0func\0';
  const at = (name: string): number => strings.indexOf(`\0${name}\0`) + 1;
  const types = [
    ...[at('int'), 1 << 24, 4, 32], // 1: an integer
    ...[0, ((4 << 24) | 2 | (1 << 31)) >>> 0, 8, at('b'), 1, 0, at('c'), 1, (4 << 24) | 32], // 2: without a name
    ...[at('pair'), (4 << 24) | 2, 12, at('a'), 1, 0, 0, 2, 32], // 3
    ...[at('func'), 12 << 24, 0], // 4
  ];
  const head = new Uint8Array(24 + 4 * types.length + strings.length);
  const view = new DataView(head.buffer);
  view.setUint16(0, 0xeb9f, true);
  view.setUint8(2, 1);
  const numbers = [24, 0, 4 * types.length, 4 * types.length, strings.length];
  for (const [i, number] of numbers.entries()) view.setUint32(4 + 4 * i, number, true);
  for (const [i, word] of types.entries()) view.setUint32(24 + 4 * i, word, true);
  head.set(Buffer.from(strings, 'latin1'), 24 + 4 * types.length);
  return head;
}

describe('BTF', () => {
  const btf = new Btf(example());

  test('sizes, functions and offsets, also in nameless parts', () => {
    expect(btf.sizeOf('pair')).toBe(12);
    expect(btf.functionId('func')).toBe(4);
    expect(['a', 'b', 'c'].map((member) => btf.offsetOf('pair', member))).toEqual([0, 4, 8]);
  });

  test('what is not there', () => {
    expect(btf.sizeOf('func')).toBeUndefined();
    expect(btf.sizeOf('pai')).toBeUndefined();
    expect(btf.offsetOf('pair', 'd')).toBeUndefined();
    expect(btf.offsetOf('none', 'a')).toBeUndefined();
  });

  test('something else', () => {
    expect(() => new Btf(new Uint8Array(24))).toThrow('not as the kernel describes its types');
    expect(() => new Btf(example().subarray(0, 40))).toThrow('not as the kernel describes its types');
  });
});

test('a program of eBPF', () => {
  const program = new BpfProgram();
  program.load(8, 7, 6, 24);
  program.jump('equal', 7, 0, 'end');
  program.setLong(3, 0xffff_8881_0444_7800n);
  program.call('probe_read_kernel');
  program.label('end');
  program.set(0, -1);
  program.exit();
  const words = [...new BigUint64Array(program.encode().buffer)].map((word) => word.toString(16));
  expect(words).toEqual([
    ...['186779', '30715', '444780000000318', 'ffff888100000000'],
    ...['7100000085', 'ffffffff000000b7', '95'],
  ]);
});
