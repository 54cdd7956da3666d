/** Encodes and decodes messages by walking their declaration. */

import { type InputOf, layoutOf, type Message, type Slot, type TypeOf } from './message.ts';
import { Reader, type UnknownFieldReporter, Writer } from './wire.ts';

/**
 * Deepest nesting of messages. Only cgroup directories nest, as deep as the hierarchy they describe; the JavaScript
 * stack easily holds this many frames.
 */
const MAX_DEPTH = 256;

/** How to decode. */
export interface DecodeOptions {
  /** Names the file in errors. */
  readonly file?: string | undefined;
  /**
   * Called for each field the schema does not know; decoding then keeps the field under {@link UNKNOWN} and goes on.
   * Without this function an unknown field is an error, because a restore would lose what a newer program wrote there.
   */
  readonly onUnknown?: UnknownFieldReporter | undefined;
}

/** Decodes a whole message; throws ImageError for anything that is not one. */
export function decodeMessage<M extends Message>(
  message: M,
  bytes: Uint8Array,
  options: DecodeOptions = {},
): TypeOf<M> {
  return readMessage(new Reader(bytes, options.file ?? message.name, options.onUnknown), message);
}

/** Encodes a message: ascending field numbers, shortest varints. Throws ImageError for values out of range. */
export function encodeMessage<M extends Message>(message: M, value: InputOf<M>, file = message.name): Uint8Array {
  const writer = new Writer(file);
  writeMessage(writer, message, value);
  return writer.finish();
}

/** Reads the message that fills the reader up to its end. */
export function readMessage<M extends Message>(reader: Reader, message: M): TypeOf<M> {
  return readFields(reader, message, 0) as TypeOf<M>;
}

/** Writes a message, without its length, in front of what was written before (the writer works back to front). */
export function writeMessage<M extends Message>(writer: Writer, message: M, value: InputOf<M>): void {
  writeFields(writer, message, value as Fields, 0);
}

type Fields = Record<string, unknown>;

/** Where a decoded message keeps the fields its schema does not know, a list of {@link UnknownField}. */
export const UNKNOWN = 'unknown_fields';

/** A field as it was found. */
export interface UnknownField {
  readonly number: number;
  /** Its tag and its value, as they are on the wire. */
  readonly bytes: Uint8Array;
}

/** Reads bytes that must be exactly one field. @throws ImageError if they are anything else */
export function readUnknownField(bytes: Uint8Array, file: string): UnknownField {
  const reader = new Reader(bytes, file);
  reader.message = UNKNOWN;
  const number = skipField(reader, reader.uint32(), 0);
  if (reader.pos < reader.end) throw reader.error('more than one field');
  return { number, bytes };
}

function readFields(reader: Reader, message: Message, depth: number): Fields {
  if (depth > MAX_DEPTH) throw reader.error(`messages nested deeper than ${MAX_DEPTH}`);
  const { byNumber, required, repeated } = layoutOf(message);
  const start = reader.pos;
  const out: Fields = {};
  for (let i = 0; i < repeated.length; i++) out[repeated[i] as string] = [];
  let missing = required.length;
  while (reader.pos < reader.end) {
    reader.message = message.name;
    reader.field = undefined;
    const at = reader.pos;
    const tag = reader.uint32();
    const slot = byNumber[tag >>> 3];
    if (slot === undefined) {
      keepUnknown(reader, tag, at, out);
      continue;
    }
    const { name, label } = slot;
    reader.field = name;
    if (tag !== slot.tag) throw reader.error(`wire type ${tag & 7} where ${slot.tag & 7} belongs`, at);
    if (label === 'repeated') {
      readList(reader, slot, out[name] as unknown[], depth);
    } else {
      if (out[name] !== undefined) throw reader.error('occurs twice', at);
      if (label === 'required') missing--;
      out[name] = slot.type ? slot.type.read(reader) : readNested(reader, slot, depth);
    }
  }
  if (missing > 0) {
    reader.message = message.name;
    reader.field = required.find((name) => out[name] === undefined);
    throw reader.error('required field is missing', start);
  }
  return out;
}

/**
 * Reads an element of a repeated field and all that directly follow it. Registers come by the hundred, so this is the
 * fast path.
 */
function readList(reader: Reader, slot: Slot, list: unknown[], depth: number): void {
  const { type, tag } = slot;
  do {
    list.push(type ? type.read(reader) : readNested(reader, slot, depth));
  } while (reader.accept(tag));
}

function readNested(reader: Reader, slot: Slot, depth: number): Fields {
  const length = reader.length();
  const outer = reader.end;
  reader.end = reader.pos + length;
  const value = readFields(reader, slot.message as Message, depth + 1);
  reader.end = outer;
  return value;
}

function keepUnknown(reader: Reader, tag: number, at: number, out: Fields): void {
  const number = skipField(reader, tag, at);
  const unknown = reader.error(`unknown field ${number}, written by another or newer program`, at);
  if (!reader.onUnknown) throw unknown;
  reader.onUnknown(unknown);
  const list = (out[UNKNOWN] ?? []) as UnknownField[];
  out[UNKNOWN] = [...list, { number, bytes: reader.bytes.subarray(at, reader.pos) }];
}

/** Skips the value of a field and returns the field's number. `at` is the offset of its tag. */
function skipField(reader: Reader, tag: number, at: number): number {
  const number = tag >>> 3;
  if (number === 0) throw reader.error('field number 0', at);
  reader.skip(tag & 7);
  return number;
}

function writeFields(writer: Writer, message: Message, value: Fields, depth: number): void {
  if (depth > MAX_DEPTH) throw writer.error(`messages nested deeper than ${MAX_DEPTH}`);
  const { slots } = layoutOf(message);
  const unknown = value[UNKNOWN] ? ascending(value[UNKNOWN] as UnknownField[]) : [];
  for (let i = slots.length - 1; i >= 0; i--) {
    const slot = slots[i] as Slot;
    while ((unknown.at(-1)?.number ?? 0) > slot.number) writeUnknown(writer, unknown.pop());
    const field = value[slot.name];
    writer.message = message.name;
    writer.field = slot.name;
    if (field === undefined) {
      if (slot.label === 'required') throw writer.error('required field is missing');
    } else if (slot.label === 'repeated') {
      writeList(writer, slot, field as readonly unknown[], depth);
    } else {
      writeValue(writer, slot, field, depth);
    }
  }
  while (unknown.length > 0) writeUnknown(writer, unknown.pop());
}

/** Lists that are the same in many messages, and how they are encoded, for their fields. */
const repeatedly = new WeakMap<readonly unknown[], Map<Slot, Uint8Array>>();

/** Says that a list, which does not change any more, is written in many messages: it is encoded only once. */
export function encodedOnce<T>(list: readonly T[]): readonly T[] {
  repeatedly.set(list, new Map());
  return list;
}

function writeList(writer: Writer, slot: Slot, list: readonly unknown[], depth: number): void {
  const encoded = repeatedly.get(list);
  const known = encoded?.get(slot);
  if (known) {
    writer.raw(known);
    return;
  }
  const before = writer.length;
  for (let i = list.length - 1; i >= 0; i--) writeValue(writer, slot, list[i], depth);
  encoded?.set(slot, writer.since(before));
}

/** Unknown fields in ascending order of their numbers, which is how the program that knows them writes them. */
function ascending(fields: readonly UnknownField[]): UnknownField[] {
  return [...fields].sort((a, b) => a.number - b.number);
}

function writeUnknown(writer: Writer, field: UnknownField | undefined): void {
  if (field) writer.raw(field.bytes);
}

function writeValue(writer: Writer, slot: Slot, value: unknown, depth: number): void {
  if (slot.type) {
    slot.type.write(writer, value as never);
  } else {
    const before = writer.length;
    writeFields(writer, slot.message as Message, value as Fields, depth + 1);
    writer.varint(writer.length - before);
  }
  writer.varint(slot.tag);
}
