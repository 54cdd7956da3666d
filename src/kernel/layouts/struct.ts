/**
 * C structs, declared as data: fields in the order of the header file, alignment and offsets worked out as the
 * compilers of all 64-bit Linux architectures do it, little-endian.
 *
 *     const Timespec = struct({ sec: i64, nsec: i64 });
 *     Timespec.size                                   // 16
 *     Timespec.decode(bytes).sec                      // bigint
 *     Timespec.encode({ sec: 1n })                    // what is not given is zero
 */

/** How one kind of field is stored. */
export interface Field<T> {
  readonly size: number;
  readonly align: number;
  get(view: DataView, at: number): T;
  set(view: DataView, at: number, value: T): void;
}

/** The value a field holds. */
export type ValueOf<F> = F extends Field<infer T> ? T : never;

type Fields = Readonly<Record<string, Field<unknown>>>;
type Values<F extends Fields> = { -readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** A struct: a codec, and a field, so that structs nest. */
export interface Struct<T> extends Field<T> {
  /** Byte offset of each field. */
  readonly offsets: { readonly [K in keyof T]: number };
  /** Reads the struct at `at`. Throws RangeError when the bytes are too few. */
  decode(bytes: Uint8Array, at?: number): T;
  /** Makes the bytes; what is not given is zero. */
  encode(values: Partial<T>): Uint8Array;
  /** Writes the struct into `bytes` at `at`; what is not given becomes zero. */
  encodeInto(bytes: Uint8Array, at: number, values: Partial<T>): void;
}

const LITTLE = true;

export const u8: Field<number> = {
  size: 1,
  align: 1,
  get: (view, at) => view.getUint8(at),
  set: (view, at, value) => view.setUint8(at, value),
};
export const u16: Field<number> = {
  size: 2,
  align: 2,
  get: (view, at) => view.getUint16(at, LITTLE),
  set: (view, at, value) => view.setUint16(at, value, LITTLE),
};
export const i16: Field<number> = {
  size: 2,
  align: 2,
  get: (view, at) => view.getInt16(at, LITTLE),
  set: (view, at, value) => view.setInt16(at, value, LITTLE),
};
export const u32: Field<number> = {
  size: 4,
  align: 4,
  get: (view, at) => view.getUint32(at, LITTLE),
  set: (view, at, value) => view.setUint32(at, value, LITTLE),
};
export const i32: Field<number> = {
  size: 4,
  align: 4,
  get: (view, at) => view.getInt32(at, LITTLE),
  set: (view, at, value) => view.setInt32(at, value, LITTLE),
};
export const u64: Field<bigint> = {
  size: 8,
  align: 8,
  get: (view, at) => view.getBigUint64(at, LITTLE),
  set: (view, at, value) => view.setBigUint64(at, value, LITTLE),
};
export const i64: Field<bigint> = {
  size: 8,
  align: 8,
  get: (view, at) => view.getBigInt64(at, LITTLE),
  set: (view, at, value) => view.setBigInt64(at, value, LITTLE),
};

/** Bytes as they are; decoded ones are a copy, shorter ones are filled up with zeros. */
export function bytes(size: number): Field<Uint8Array> {
  const at = (view: DataView, offset: number): Uint8Array => {
    if (offset + size > view.byteLength) throw new RangeError('a field beyond the end of the bytes');
    return new Uint8Array(view.buffer, view.byteOffset + offset, size);
  };
  return {
    size,
    align: 1,
    get: (view, offset) => at(view, offset).slice(),
    set: (view, offset, value) => {
      if (value.length > size) throw new RangeError(`${value.length} bytes do not fit a field of ${size}`);
      const field = at(view, offset);
      field.fill(0);
      field.set(value);
    },
  };
}

/** A fixed number of equal fields; missing ones are zero when encoded. */
export function array<T>(item: Field<T>, count: number): Field<T[]> {
  return {
    size: item.size * count,
    align: item.align,
    get: (view, at) => Array.from({ length: count }, (_, i) => item.get(view, at + i * item.size)),
    set: (view, at, values) => {
      if (values.length > count) throw new RangeError(`${values.length} items do not fit an array of ${count}`);
      values.forEach((value, i) => {
        item.set(view, at + i * item.size, value);
      });
    },
  };
}

/** Declares a struct. `packed` leaves out all padding, as `__attribute__((packed))`. */
export function struct<const F extends Fields>(fields: F, options?: { packed: boolean }): Struct<Values<F>> {
  return new Layout(fields, options?.packed ?? false);
}

/** Where everything is. */
interface Places<F extends Fields> {
  readonly size: number;
  readonly align: number;
  readonly offsets: { readonly [K in keyof Values<F>]: number };
}

/** Works out its places when first asked: programs declare many structs and use few. */
class Layout<F extends Fields> implements Struct<Values<F>> {
  readonly #fields: F;
  readonly #packed: boolean;
  #places: Places<F> | undefined;

  constructor(fields: F, packed: boolean) {
    this.#fields = fields;
    this.#packed = packed;
  }

  get size(): number {
    return this.#found.size;
  }

  get align(): number {
    return this.#found.align;
  }

  get offsets(): Places<F>['offsets'] {
    return this.#found.offsets;
  }

  get #found(): Places<F> {
    this.#places ??= placesOf(this.#fields, this.#packed);
    return this.#places;
  }

  get(view: DataView, at: number): Values<F> {
    const { offsets } = this;
    const out: Record<string, unknown> = {};
    for (const name in this.#fields) out[name] = this.#fields[name]?.get(view, at + offsets[name]);
    return out as Values<F>;
  }

  set(view: DataView, at: number, values: Partial<Values<F>>): void {
    const { offsets } = this;
    for (const name in this.#fields) {
      const value = values[name];
      if (value !== undefined) this.#fields[name]?.set(view, at + offsets[name], value);
    }
  }

  decode(from: Uint8Array, at = 0): Values<F> {
    return this.get(viewOf(from), at);
  }

  encode(values: Partial<Values<F>>): Uint8Array {
    const out = new Uint8Array(this.size);
    this.set(viewOf(out), 0, values);
    return out;
  }

  encodeInto(into: Uint8Array, at: number, values: Partial<Values<F>>): void {
    into.fill(0, at, at + this.size);
    this.set(viewOf(into), at, values);
  }
}

function placesOf<F extends Fields>(fields: F, packed: boolean): Places<F> {
  const offsets: Record<string, number> = {};
  let end = 0;
  let align = 1;
  for (const name in fields) {
    const field = fields[name] as Field<unknown>;
    const step = packed ? 1 : field.align;
    align = Math.max(align, step);
    end = roundUp(end, step);
    offsets[name] = end;
    end += field.size;
  }
  return { size: roundUp(end, align), align, offsets: offsets as Places<F>['offsets'] };
}

/** All structs that lie one after another in the bytes; a remainder shorter than one is ignored. */
export function decodeAll<T>(layout: Struct<T>, from: Uint8Array): T[] {
  const view = viewOf(from);
  return Array.from({ length: Math.floor(from.length / layout.size) }, (_, i) => layout.get(view, i * layout.size));
}

/** Structs one after another. */
export function encodeAll<T>(layout: Struct<T>, items: readonly Partial<T>[]): Uint8Array {
  const out = new Uint8Array(layout.size * items.length);
  items.forEach((item, i) => {
    layout.encodeInto(out, i * layout.size, item);
  });
  return out;
}

function viewOf(from: Uint8Array): DataView {
  return new DataView(from.buffer, from.byteOffset, from.byteLength);
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
