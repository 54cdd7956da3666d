/**
 * The language the schemas are written in. A message is declared once, as data:
 *
 *     export const rlimitEntry = message('rlimit_entry', () => ({
 *       cur: uint64(1),
 *       max: optional(uint64(2, 'hex')),
 *     }));
 *     export type RlimitEntry = TypeOf<typeof rlimitEntry>; // { cur: bigint; max?: bigint | undefined }
 *
 * The codec walks it, crit's JSON walks it, and TypeScript derives the type from it. A field is required unless
 * wrapped in {@link optional} or {@link repeated}. The fields are built when a message is first used, because a
 * dump of a small process must not pay for a hundred messages it never writes.
 */

import { type Reader, WireType, type Writer } from './wire.ts';

/** How crit prints a field in its pretty form: the display options of CRIU's schema. */
export type Display =
  | 'hex'
  | 'ip'
  | 'dev' // kernel's dev_t, 20 bits of minor
  | 'odev' // user space's dev_t, as makedev(3)
  | 'mmap.prot'
  | 'mmap.flags'
  | 'mmap.status'
  | 'rfile.flags'
  | 'pmap.flags'
  | 'seals.flags'
  | 'gen' // names by field: task states
  | 'sk' // names by field: socket families, types, states, protocols
  | 'unix_name'; // bytes as quoted-printable text

/** Whether and how often a field occurs. */
export type Label = 'required' | 'optional' | 'repeated';

/** A type of values: its wire type, and functions that read and write it. */
export interface ValueType<Out, In = Out> {
  readonly name: string;
  readonly wire: number;
  read(reader: Reader): Out;
  write(writer: Writer, value: In): void;
}

/** An enum: names and their numbers. */
export type EnumValues = Readonly<Record<string, number>>;

/** A field of a message. `Out` is what decoding gives, `In` what encoding takes (a 64-bit value also as number). */
export interface Field<Out = unknown, In = unknown, L extends Label = Label> {
  readonly number: number;
  readonly label: L;
  /** Absent for nested messages. */
  readonly type?: ValueType<unknown, never> | undefined;
  readonly message?: Message | undefined;
  readonly values?: EnumValues | undefined;
  readonly show?: Display | undefined;
  /** The value that an absent optional field stands for. Decoding does not fill it in. */
  readonly default?: unknown;
  /** Exists for the type checker only, never at run time. */
  readonly '~out'?: Out;
  readonly '~in'?: In;
}

/** The fields of a message by name. */
export type Shape = Readonly<Record<string, Field>>;

/** A declared message. */
export interface Message<S extends Shape = Shape> {
  readonly name: string;
  readonly shape: () => S;
  /** The shape prepared for the codec, built when first needed. */
  layout?: Layout;
}

/** A field with its name and its tag on the wire. */
export interface Slot extends Field {
  readonly name: string;
  readonly tag: number;
}

/** A shape as the codec uses it: fields by position and by number. */
export interface Layout {
  /** Ascending by number. */
  readonly slots: readonly Slot[];
  readonly byNumber: readonly (Slot | undefined)[];
  readonly required: readonly string[];
  readonly repeated: readonly string[];
}

type Flat<T> = { [K in keyof T]: T[K] };
type Named<S extends Shape, L extends Label> = { [K in keyof S]: S[K]['label'] extends L ? K : never }[keyof S];
type Out<F extends Field> = Exclude<F['~out'], undefined>;
type In<F extends Field> = Exclude<F['~in'], undefined>;

/** What decoding a message with these fields gives. */
export type OutOf<S extends Shape> = Flat<
  { [K in Named<S, 'required'>]: Out<S[K]> } & { [K in Named<S, 'optional'>]?: Out<S[K]> | undefined } & {
    [K in Named<S, 'repeated'>]: Out<S[K]>[];
  }
>;

/** What encoding a message with these fields takes. */
export type InOf<S extends Shape> = Flat<
  { [K in Named<S, 'required'>]: In<S[K]> } & { [K in Named<S, 'optional'>]?: In<S[K]> | undefined } & {
    [K in Named<S, 'repeated'>]?: readonly In<S[K]>[] | undefined;
  }
>;

/** The type of a decoded message; an absent repeated field is an empty array. */
export type TypeOf<M extends Message> = M extends Message<infer S> ? OutOf<S> : never;

/** What can be encoded: as {@link TypeOf}, but repeated fields may be left out and 64-bit values may be numbers. */
export type InputOf<M extends Message> = M extends Message<infer S> ? InOf<S> : never;

/** Declares a message; `shape` runs when the message is first used. */
export function message<S extends Shape>(name: string, shape: () => S): Message<S> {
  return { name, shape };
}

/** The shape of a message, sorted and tagged; made once. */
export function layoutOf(of: Message): Layout {
  of.layout ??= makeLayout(of.shape());
  return of.layout;
}

function makeLayout(shape: Shape): Layout {
  const slots: Slot[] = [];
  const byNumber: (Slot | undefined)[] = [];
  const required: string[] = [];
  const repeated: string[] = [];
  for (const name in shape) {
    const field = shape[name] as Field;
    const { number, label, type } = field;
    const slot: Slot = { ...field, name, tag: number * 8 + (type ? type.wire : WireType.bytes) };
    slots.push(slot);
    byNumber[number] = slot;
    if (label === 'required') required.push(name);
    else if (label === 'repeated') repeated.push(name);
  }
  slots.sort((a, b) => a.number - b.number);
  return { slots, byNumber, required, repeated };
}

// The types of values. Names as in protobuf, except text for string.

type Whole = bigint | number;
type Single<O, I = O> = Field<O, I, 'required'>;

const { varint, fixed64: eight, bytes: prefixed } = WireType;
const types = {
  uint32: {
    name: 'uint32',
    wire: varint,
    read: (r: Reader) => r.uint32(),
    write: (w: Writer, v: number) => w.uint32(v),
  },
  uint64: {
    name: 'uint64',
    wire: varint,
    read: (r: Reader) => r.uint64(),
    write: (w: Writer, v: Whole) => w.uint64(v),
  },
  int32: { name: 'int32', wire: varint, read: (r: Reader) => r.int32(), write: (w: Writer, v: number) => w.int32(v) },
  int64: { name: 'int64', wire: varint, read: (r: Reader) => r.int64(), write: (w: Writer, v: Whole) => w.int64(v) },
  sint32: {
    name: 'sint32',
    wire: varint,
    read: (r: Reader) => r.sint32(),
    write: (w: Writer, v: number) => w.sint32(v),
  },
  sint64: {
    name: 'sint64',
    wire: varint,
    read: (r: Reader) => r.sint64(),
    write: (w: Writer, v: Whole) => w.sint64(v),
  },
  fixed64: {
    name: 'fixed64',
    wire: eight,
    read: (r: Reader) => r.fixed64(),
    write: (w: Writer, v: Whole) => w.fixed64(v),
  },
  bool: { name: 'bool', wire: varint, read: (r: Reader) => r.bool(), write: (w: Writer, v: boolean) => w.bool(v) },
  text: { name: 'string', wire: prefixed, read: (r: Reader) => r.text(), write: (w: Writer, v: string) => w.text(v) },
  bytes: {
    name: 'bytes',
    wire: prefixed,
    read: (r: Reader) => r.lengthPrefixed(),
    write: (w: Writer, v: Uint8Array) => w.lengthPrefixed(v),
  },
  enumerated: {
    name: 'enum',
    wire: varint,
    read: (r: Reader) => r.int32(),
    write: (w: Writer, v: number) => w.int32(v),
  },
};

/** An unsigned number of up to 32 bits. */
export function uint32(number: number, show?: Display): Single<number> {
  return { number, label: 'required', type: types.uint32, show };
}

/** An unsigned number of up to 64 bits, a bigint. */
export function uint64(number: number, show?: Display): Single<bigint, Whole> {
  return { number, label: 'required', type: types.uint64, show };
}

/** A signed number of up to 32 bits; takes 10 bytes when negative. */
export function int32(number: number): Single<number> {
  return { number, label: 'required', type: types.int32 };
}

/** A signed number of up to 64 bits, a bigint. */
export function int64(number: number): Single<bigint, Whole> {
  return { number, label: 'required', type: types.int64 };
}

/** A signed number of up to 32 bits, zigzag: short also when negative. */
export function sint32(number: number): Single<number> {
  return { number, label: 'required', type: types.sint32 };
}

/** A signed number of up to 64 bits, zigzag, a bigint. */
export function sint64(number: number): Single<bigint, Whole> {
  return { number, label: 'required', type: types.sint64 };
}

/** An unsigned number of always eight bytes, a bigint. */
export function fixed64(number: number): Single<bigint, Whole> {
  return { number, label: 'required', type: types.fixed64 };
}

/** True or false. */
export function bool(number: number): Single<boolean> {
  return { number, label: 'required', type: types.bool };
}

/** Text that may hold any bytes; encoding the decoded text gives the same bytes again (see base/text.ts). */
export function text(number: number): Single<string> {
  return { number, label: 'required', type: types.text };
}

/** Bytes; decoding gives a view of the image, not a copy. */
export function bytes(number: number, show?: Display): Single<Uint8Array> {
  return { number, label: 'required', type: types.bytes, show };
}

/** A number with names; numbers without a name are kept. */
export function enumerated(number: number, values: EnumValues): Single<number> {
  return { number, label: 'required', type: types.enumerated, values };
}

/** A message within the message; `show` steers the printing of all its numbers. */
export function nested<M extends Message>(number: number, message: M, show?: Display): Single<TypeOf<M>, InputOf<M>> {
  return { number, label: 'required', message, show };
}

/** The field may be absent; `absent` is what that means, where the schema says so. */
export function optional<O, I>(field: Single<O, I>, absent?: NoInfer<O>): Field<O, I, 'optional'> {
  return { ...field, label: 'optional', default: absent };
}

/** The field occurs any number of times. */
export function repeated<O, I>(field: Single<O, I>): Field<O, I, 'repeated'> {
  return { ...field, label: 'repeated' };
}
