/**
 * Messages as JSON and back, from the same declarations as the binary form. In the plain form numbers are numbers; in
 * the pretty form they are names, flags and addresses where the schema says so.
 */

import { decodeBase64, encodeBase64 } from './base64.ts';
import { readUnknownField, UNKNOWN, type UnknownField } from './codec.ts';
import { nameOf, numberOf, parseAddress, parseInteger, parseNumber, showAddress, showNumber } from './display.ts';
import { ImageError } from './error.ts';
import type { Json, JsonObject } from './json.ts';
import { layoutOf, type Message, type Slot } from './message.ts';
import { decodeQuoted, encodeQuoted } from './quoted-printable.ts';

/** A decoded message of any kind. */
export type Fields = Record<string, unknown>;

/** A message as JSON. */
export function messageToJson(message: Message, value: Fields, pretty: boolean, allHex = false): JsonObject {
  const object: JsonObject = {};
  for (const slot of layoutOf(message).slots) {
    const field = value[slot.name];
    if (field === undefined) continue;
    const hex = allHex || slot.show === 'hex';
    if (slot.label !== 'repeated') {
      object[slot.name] = valueToJson(slot, field, pretty, hex);
      continue;
    }
    const list = field as unknown[];
    if (list.length === 0) continue;
    const address = pretty && slot.show === 'ip' ? showAddress(list as number[]) : undefined;
    object[slot.name] = address ? [address] : list.map((item) => valueToJson(slot, item, pretty, hex));
  }
  if (value[UNKNOWN]) object[UNKNOWN] = unknownToJson(value[UNKNOWN] as UnknownField[]);
  return object;
}

/** Fields that the schema does not know: the field number for people, and the bytes (tag and value) for encoding. */
function unknownToJson(fields: readonly UnknownField[]): Json {
  return fields.map(({ number, bytes }) => ({ number, bytes: encodeBase64(bytes) }));
}

function unknownFromJson(message: Message, json: Json, file: string): UnknownField[] {
  const field = `${message.name}.${UNKNOWN}`;
  if (!Array.isArray(json)) throw new ImageError({ file, field, reason: 'a list expected' });
  return json.map((item) => {
    const { number, bytes } = asObject(item, file, 'an unknown field');
    if (typeof bytes !== 'string') throw new ImageError({ file, field, reason: '"bytes" must be base64 text' });
    const unknown = readUnknownField(decodeBase64(bytes), file);
    const known = layoutOf(message).byNumber[unknown.number];
    if (known) throw new ImageError({ file, field, reason: `field ${unknown.number} is known: it is ${known.name}` });
    if (number !== unknown.number) {
      throw new ImageError({ file, field, reason: `the bytes are those of field ${unknown.number}` });
    }
    return unknown;
  });
}

/** Reads a message from JSON of either form. @throws ImageError for unknown names */
export function messageFromJson(message: Message, json: Json, file: string): Fields {
  const object = asObject(json, file, message.name);
  const { slots } = layoutOf(message);
  for (const name in object) {
    if (name !== UNKNOWN && !slots.some((slot) => slot.name === name)) {
      throw new ImageError({ file, field: `${message.name}.${name}`, reason: 'no such field' });
    }
  }
  const value: Fields = {};
  for (const slot of slots) {
    const field = object[slot.name];
    if (field !== undefined) value[slot.name] = fieldFromJson(slot, field, { file, message });
  }
  if (object[UNKNOWN] !== undefined) value[UNKNOWN] = unknownFromJson(message, object[UNKNOWN], file);
  return value;
}

function valueToJson(slot: Slot, value: unknown, pretty: boolean, hex: boolean): Json {
  if (slot.message) return messageToJson(slot.message, value as Fields, pretty, hex);
  if (slot.values) return nameOf(slot.values, value as number) ?? (value as number);
  if (value instanceof Uint8Array) return slot.show === 'unix_name' ? encodeQuoted(value) : encodeBase64(value);
  if (!pretty || (typeof value !== 'number' && typeof value !== 'bigint')) return value as Json;
  const show = hex ? 'hex' : slot.show;
  return (show && showNumber(show, slot.name, value)) ?? value;
}

/** The file and field of a value, for error messages. */
interface Place {
  readonly file: string;
  readonly message: Message;
}

function fieldFromJson(slot: Slot, json: Json, place: Place): unknown {
  if (slot.label !== 'repeated') return valueFromJson(slot, json, place);
  if (!Array.isArray(json)) throw misfit(slot, place, 'a list expected');
  const [first] = json;
  if (slot.show === 'ip' && typeof first === 'string' && parseInteger(first) === undefined) {
    const words = parseAddress(first);
    if (!words) throw misfit(slot, place, `'${first}' is not an IP address`);
    return words;
  }
  return json.map((item) => valueFromJson(slot, item, place));
}

function valueFromJson(slot: Slot, json: Json, place: Place): unknown {
  if (slot.message) return messageFromJson(slot.message, json, place.file);
  switch (slot.type?.name) {
    case 'string':
      if (typeof json !== 'string') throw misfit(slot, place, 'text expected');
      return json;
    case 'bytes':
      if (typeof json !== 'string') throw misfit(slot, place, 'bytes as text expected');
      return slot.show === 'unix_name' ? decodeQuoted(json) : decodeBase64(json);
    case 'bool':
      if (typeof json !== 'boolean') throw misfit(slot, place, 'true or false expected');
      return json;
    default:
      return numberFromJson(slot, json, place);
  }
}

/** A number as the writer takes it: number or bigint for 64-bit fields, number for the others. */
function numberFromJson(slot: Slot, json: Json, place: Place): number | bigint {
  if (typeof json === 'number' || typeof json === 'bigint') return json;
  if (typeof json !== 'string') throw misfit(slot, place, 'a number expected');
  const named = numberOf(slot.values, json);
  if (named !== undefined) return named;
  const value = parseNumber(slot.show, slot.name, json);
  if (value === undefined) throw misfit(slot, place, `'${json}' is not a value of this field`);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function misfit(slot: Slot, { file, message }: Place, reason: string): ImageError {
  return new ImageError({ file, field: `${message.name}.${slot.name}`, reason });
}

/** The JSON as an object, or an ImageError saying that `what` must be one. */
export function asObject(json: Json, file: string, what: string): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ImageError({ file, reason: `${what} must be an object` });
  }
  return json;
}
