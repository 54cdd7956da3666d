/** The wire format, message by message. */
import { describe, expect, test } from 'bun:test';
import { decodeMessage, encodedOnce, encodeMessage } from '../../../src/images/codec.ts';
import { ImageError } from '../../../src/images/error.ts';
import {
  bool,
  bytes,
  enumerated,
  fixed64,
  int32,
  int64,
  type Message,
  message,
  nested,
  optional,
  repeated,
  sint32,
  sint64,
  text,
  uint32,
  uint64,
} from '../../../src/images/message.ts';
import { apparmorEntry } from '../../../src/images/schema/security.ts';
import { thrownBy } from './fixtures.ts';

const inner = message('inner', () => ({ value: uint32(1) }));
const sample = message('sample', () => ({
  u32: optional(uint32(1)),
  u64: optional(uint64(2)),
  i32: optional(int32(3)),
  i64: optional(int64(4)),
  s32: optional(sint32(5)),
  s64: optional(sint64(6)),
  flag: optional(bool(7)),
  name: optional(text(8)),
  blob: optional(bytes(9)),
  fixed: optional(fixed64(10)),
  kind: optional(enumerated(11, { ONE: 1 })),
  nest: optional(nested(12, inner)),
  many: repeated(uint32(20)),
  nests: repeated(nested(21, inner)),
}));
const strict = message('strict', () => ({ a: uint32(1), b: uint32(2) }));

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** The error decoding gives; it must be an ImageError. */
function refusal(of: Message, encoded: string): ImageError {
  const error = thrownBy(() => decodeMessage(of, unhex(encoded), { file: 'x.img' }));
  expect(error).toBeInstanceOf(ImageError);
  return error as ImageError;
}

describe('values travel as protobuf says', () => {
  // Expected bytes written down from the protobuf encoding rules.
  const cases: [object, string][] = [
    [{ u32: 0 }, '0800'],
    [{ u32: 127 }, '087f'],
    [{ u32: 128 }, '088001'],
    [{ u32: 0xffff_ffff }, '08ffffffff0f'],
    [{ u64: 0n }, '1000'],
    [{ u64: 1n << 32n }, '108080808010'],
    [{ u64: (1n << 53n) + 1n }, '108180808080808010'],
    [{ u64: 1n << 53n }, '108080808080808010'],
    [{ u64: 1n << 56n }, '10808080808080808001'],
    [{ u64: 1n << 63n }, '1080808080808080808001'],
    [{ u64: 0x0123456789abcdefn }, '10ef9bafcdf8acd19101'],
    [{ u64: (1n << 64n) - 1n }, '10ffffffffffffffffff01'],
    [{ i32: -1 }, '18ffffffffffffffffff01'],
    [{ i32: -(2 ** 31) }, '1880808080f8ffffffff01'],
    [{ i32: 2 ** 31 - 1 }, '18ffffffff07'],
    [{ i64: -2n }, '20feffffffffffffffff01'],
    [{ i64: (1n << 63n) - 1n }, '20ffffffffffffffff7f'],
    [{ s32: -1 }, '2801'],
    [{ s32: 1 }, '2802'],
    [{ s32: -(2 ** 31) }, '28ffffffff0f'],
    [{ s32: 2 ** 31 - 1 }, '28feffffff0f'],
    [{ s64: -1n }, '3001'],
    [{ s64: -(1n << 63n) }, '30ffffffffffffffffff01'],
    [{ flag: true }, '3801'],
    [{ flag: false }, '3800'],
    [{ name: 'aé' }, '420361c3a9'],
    [{ name: '\udcff\0' }, '4202ff00'],
    [{ blob: Uint8Array.of() }, '4a00'],
    [{ blob: Uint8Array.of(1, 2) }, '4a020102'],
    [{ fixed: 0x0102030405060708n }, '510807060504030201'],
    [{ kind: 1 }, '5801'],
    [{ kind: 77 }, '584d'],
    [{ nest: { value: 300 } }, '620308ac02'],
    [{ many: [1, 300, 0] }, 'a00101a001ac02a00100'],
    [{ nests: [{ value: 1 }, { value: 2 }] }, 'aa01020801aa01020802'],
  ];
  for (const [value, encoded] of cases) {
    test(encoded, () => {
      expect(hex(encodeMessage(sample, value))).toBe(encoded);
      expect(decodeMessage(sample, unhex(encoded))).toEqual({ many: [], nests: [], ...value } as never);
    });
  }

  test('fields are written in ascending order, whatever the order given', () => {
    expect(hex(encodeMessage(sample, { many: [5], i32: 2, u32: 1 }))).toBe('08011802a00105');
  });

  test('64-bit fields also take numbers', () => {
    expect(hex(encodeMessage(sample, { u64: 2 ** 40, i64: -2, s64: -1 }))).toBe(
      '1080808080802020feffffffffffffffff013001',
    );
  });

  test('a large message makes the writer grow', () => {
    const many = Array.from({ length: 50_000 }, (_, i) => (i % 3) * 1000);
    expect(decodeMessage(sample, encodeMessage(sample, { many })).many).toEqual(many);
  });
});

describe('reading refuses', () => {
  const cases: [what: string, of: Message, encoded: string, reason: RegExp, field: string | undefined, at: number][] = [
    ['an overlong varint', sample, '088000', /longer than needed/, 'sample.u32', 1],
    ['a varint of eleven bytes', sample, '10ffffffffffffffffffff01', /more than/, 'sample.u64', 1],
    ['a varint beyond 64 bits', sample, '10ffffffffffffffffff02', /more than 64 bits/, 'sample.u64', 1],
    ['a varint cut off', sample, '0880', /middle of a varint/, 'sample.u32', 1],
    ['33 bits in a 32-bit field', sample, '08ffffffff1f', /more than 32 bits/, 'sample.u32', 1],
    ['a negative value of five bytes', sample, '18ffffffff0f', /outside 32 bits/, 'sample.i32', 1],
    ['2 as a boolean', sample, '3802', /boolean/, 'sample.flag', 1],
    ['a length beyond the end', sample, '4a05 0102', /5 bytes announced, 2 there/, 'sample.blob', 1],
    ['an absurd length', sample, '4affffffff0f', /4294967295 bytes announced, 0 there/, 'sample.blob', 1],
    ['a nested length beyond its parent', sample, '6203 0801', /3 bytes announced/, 'sample.nest', 1],
    ['a nested value beyond its message', sample, '6201 08 01', /middle of a varint/, 'inner.value', 3],
    ['a fixed value cut off', sample, '5101', /8 bytes expected, 1 there/, 'sample.fixed', 1],
    ['a wrong wire type', sample, '0a00', /wire type 2 where 0 belongs/, 'sample.u32', 0],
    ['a packed list', sample, 'a20102 0102', /wire type 2 where 0 belongs/, 'sample.many', 0],
    ['a field twice', sample, '0801 0802', /twice/, 'sample.u32', 2],
    ['field number 0', sample, '0001', /field number 0/, 'sample', 0],
    ['an unknown field', sample, '0801 f80107', /unknown field 31/, 'sample', 2],
    ['a group', sample, 'fb01', /wire type 3/, 'sample', 2],
    ['a missing field', strict, '0801', /required field is missing/, 'strict.b', 0],
    ['an empty message with required fields', strict, '', /required field is missing/, 'strict.a', 0],
  ];
  for (const [what, of, encoded, reason, field, at] of cases) {
    test(what, () => {
      const error = refusal(of, encoded);
      expect(error.reason).toMatch(reason);
      expect(error.kind).toBe('image');
      expect([error.file, error.field, error.offset]).toEqual(['x.img', field, at]);
      expect(error.toJSON()).toMatchObject({ kind: 'image', file: 'x.img', offset: at });
    });
  }

  test('messages nested without end', () => {
    let encoded = new Uint8Array(0);
    for (let depth = 0; depth < 5000; depth++) {
      const length = encoded.length;
      const size =
        length < 0x80
          ? [length]
          : length < 0x4000
            ? [(length & 0x7f) | 0x80, length >> 7]
            : [(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
      encoded = new Uint8Array(Buffer.concat([Uint8Array.from([depth === 4999 ? 0x0a : 0x1a, ...size]), encoded]));
    }
    expect(refusal(apparmorEntry as unknown as Message, hex(encoded)).reason).toMatch(/nested deeper/);
  });
});

describe('unknown fields', () => {
  test('are reported, kept, and written back as they were, in the order of their numbers', () => {
    const told: string[] = [];
    // Two varints, bytes, and eight and four bytes.
    const encoded = unhex('0801 f80107 f80109 fa010101 f90100000000000000 00 fd0100000000');
    const value = decodeMessage(sample, encoded, { onUnknown: (error) => told.push(error.reason) });
    expect(value.u32).toBe(1);
    expect(told).toHaveLength(5);
    expect(hex(encodeMessage(sample, value))).toBe(hex(encoded));
  });

  test('stand between those that are known', () => {
    const encoded = unhex('0801 7a0178 a00105 f8018701');
    const value = decodeMessage(sample, encoded, { onUnknown: () => {} });
    expect(value.many).toEqual([5]);
    expect(hex(encodeMessage(sample, value))).toBe(hex(encoded));
  });
});

test('a list that is encoded once is the same in every message and field', () => {
  const many = [1, 300, 70_000];
  const nests = [{ value: 1 }, { value: 2 ** 31 }];
  const other = message('other', () => ({ a: repeated(uint32(3)), b: repeated(uint32(4)), name: optional(text(8)) }));
  const [once, nestsOnce] = [encodedOnce([...many]), encodedOnce([...nests])];
  for (const name of ['x', 'yy', undefined]) {
    expect(hex(encodeMessage(sample, { name, many: once, nests: nestsOnce }))).toBe(
      hex(encodeMessage(sample, { name, many, nests })),
    );
    expect(hex(encodeMessage(other, { a: once, b: once, name }))).toBe(
      hex(encodeMessage(other, { a: many, b: many, name })),
    );
  }
});

describe('writing refuses', () => {
  const cases: [string, object, RegExp][] = [
    ['a value too large', { u32: 2 ** 32 }, /not an unsigned 32-bit value/],
    ['a negative value', { u32: -1 }, /not an unsigned/],
    ['a fraction', { u32: 1.5 }, /not an unsigned/],
    ['a bigint for 32 bits', { u32: 1n }, /not an unsigned/],
    ['a value beyond 64 bits', { u64: 1n << 64n }, /not an unsigned 64-bit/],
    ['an inexact number', { u64: 2 ** 60 }, /not an exact/],
    ['a signed value out of range', { i32: 2 ** 31 }, /not a 32-bit/],
    ['text for a number', { u32: '1' }, /not an unsigned/],
    ['a number for text', { name: 1 }, /not a string/],
    ['text for bytes', { blob: 'x' }, /not bytes/],
    ['a missing field', { nest: {} }, /required field is missing \(inner.value\)/],
  ];
  for (const [what, value, reason] of cases) {
    test(what, () => {
      const error = thrownBy(() => encodeMessage(sample, value as never, 'x.img'));
      expect(error).toBeInstanceOf(ImageError);
      expect((error as ImageError).reason).toMatch(reason);
    });
  }
});
