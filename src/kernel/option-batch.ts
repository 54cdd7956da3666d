/**
 * Many options of one socket, read by one call of machine code. A socket has about a hundred options, and to cross from
 * JavaScript to the kernel for each takes five times as long as the system call itself.
 */
import { thisArch } from '../arch/index.ts';
import type { LocalFd } from '../base/brands.ts';
import { PinnedBuffer } from './ffi.ts';
import { nativeFunction } from './native-function.ts';
import { SyscallError } from './syscall.ts';

/** An option, and how many bytes its value has at most: 4 if that is not told, those of an int. */
export type BatchedOption = readonly [level: number, name: number, room?: number];

/** Size of an entry of the machine code (arch/), and where the parts are that change. */
const ENTRY = 24;
const LENGTH = 16;
const RESULT = 20;

let readAll: ((socket: number, entries: number, count: number) => number) | undefined;

/**
 * A list of options that is read of one socket after the other. Options into whose value the kernel looks before it
 * answers (TCP_AO_INFO, MCAST_MSFILTER) cannot be in it.
 */
export class OptionBatch<Key extends string = string> {
  readonly keys: readonly Key[];
  /** The entries, and behind them the values. */
  readonly #block: PinnedBuffer;
  readonly #view: DataView;
  readonly #places: ReadonlyMap<Key, { readonly entry: number; readonly value: number }>;
  /** The entries as they have to be before each call. */
  readonly #fresh: Uint8Array;

  constructor(wanted: Readonly<Record<Key, BatchedOption>>) {
    this.keys = Object.keys(wanted) as Key[];
    const size = this.keys.reduce((sum, key) => sum + padded(wanted[key][2]), this.keys.length * ENTRY);
    this.#block = new PinnedBuffer(new Uint8Array(size));
    this.#view = new DataView(this.#block.view.buffer);
    const places = new Map<Key, { entry: number; value: number }>();
    let value = this.keys.length * ENTRY;
    for (const [i, key] of this.keys.entries()) {
      const [level, name, room = 4] = wanted[key];
      const entry = i * ENTRY;
      places.set(key, { entry, value });
      this.#view.setUint32(entry, level, true);
      this.#view.setUint32(entry + 4, name, true);
      this.#view.setBigUint64(entry + 8, BigInt(this.#block.address + value), true);
      this.#view.setUint32(entry + LENGTH, room, true);
      value += padded(room);
    }
    this.#places = places;
    this.#fresh = this.#block.view.slice(0, this.keys.length * ENTRY);
  }

  /** Reads all options of a socket. What the other functions return is of the socket that was read last. */
  read(local: LocalFd): this {
    readAll ??= nativeFunction(thisArch().readSocketOptions());
    this.#block.view.set(this.#fresh);
    readAll(local, this.#block.address, this.keys.length);
    return this;
  }

  /** The value of an option that is an int; undefined if the kernel has refused to tell it. */
  numberIfAny(key: Key): number | undefined {
    const { entry, value } = this.#placeOf(key);
    return this.#view.getInt32(entry + RESULT, true) < 0 ? undefined : this.#view.getInt32(value, true);
  }

  /** The value of an option that is an int. @throws SyscallError */
  number(key: Key): number {
    return this.int(key, 0);
  }

  /** The value of an option, a copy; undefined if the kernel has refused to tell it. */
  bytesIfAny(key: Key): Uint8Array | undefined {
    return this.#view.getInt32(this.#placeOf(key).entry + RESULT, true) < 0 ? undefined : this.bytes(key);
  }

  /** The value of an option, a copy. @throws SyscallError */
  bytes(key: Key): Uint8Array {
    const { entry, value } = this.#placeOf(key);
    this.#mustHave(entry);
    return this.#block.view.slice(value, value + this.#view.getUint32(entry + LENGTH, true));
  }

  /** The length of an option's value. @throws SyscallError */
  length(key: Key): number {
    const { entry } = this.#placeOf(key);
    this.#mustHave(entry);
    return this.#view.getUint32(entry + LENGTH, true);
  }

  /** Number `i` of 64 bits in the value of an option. @throws SyscallError */
  long(key: Key, i: number): bigint {
    const { entry, value } = this.#placeOf(key);
    this.#mustHave(entry);
    return this.#view.getBigInt64(value + 8 * i, true);
  }

  /** Number `i` of 32 bits in the value of an option. @throws SyscallError */
  int(key: Key, i: number): number {
    const { entry, value } = this.#placeOf(key);
    this.#mustHave(entry);
    return this.#view.getInt32(value + 4 * i, true);
  }

  /** The options that have another value than new sockets have, by key; undefined if none has. */
  unusual(table: Usual<Key>): Record<string, number> | undefined {
    let found: Record<string, number> | undefined;
    for (const key of this.keys) {
      const value = this.numberIfAny(key);
      if (value === undefined || value === table[key][1]) continue;
      found ??= {};
      found[key] = value;
    }
    return found;
  }

  #placeOf(key: Key): { readonly entry: number; readonly value: number } {
    const place = this.#places.get(key);
    if (!place) throw new RangeError(`no option ${key}`);
    return place;
  }

  #mustHave(entry: number): void {
    const result = this.#view.getInt32(entry + RESULT, true);
    if (result >= 0) return;
    const [level, name] = [0, 4].map((at) => this.#view.getUint32(entry + at, true));
    throw new SyscallError('getsockopt', -result, { resource: `option ${name} of level ${level}` });
  }
}

/** Values are aligned to 8 bytes. */
function padded(room = 4): number {
  return (room + 7) & ~7;
}

/** A table of options that are ints: key, number, and the value a new socket has. */
export type Usual<Key extends string = string> = Readonly<Record<Key, readonly [name: number, usual: number]>>;

/** A batch of such a table. */
export function batchOf<Key extends string>(level: number, table: Usual<Key>): OptionBatch<Key> {
  const wanted = Object.entries<readonly [number, number]>(table).map(([key, [name]]) => [key, [level, name]] as const);
  return new OptionBatch(Object.fromEntries(wanted) as unknown as Record<Key, BatchedOption>);
}
