/**
 * crit's JSON: `{"magic": "CORE", "entries": [{…, "extra": …}]}`, as CRIU's own crit prints and reads it. The
 * payload after a message stands in `extra`: bytes as base64, other forms as {@link PayloadForm} says.
 */

import { decodeBase64, encodeBase64 } from './base64.ts';
import { encodeMessage } from './codec.ts';
import { ImageError } from './error.ts';
import { type DecodedImage, type Entry, encodeImage } from './image.ts';
import type { Json, JsonObject } from './json.ts';
import type { HeadedKind, ImageKind } from './kind.ts';
import { Images } from './kinds.ts';
import type { Message } from './message.ts';
import { asObject, type Fields, messageFromJson, messageToJson } from './message-json.ts';
import type { PayloadCodec, QueuedMessage, TcpQueues } from './payload.ts';
import { type IpcMsg, ipcMsg } from './schema/namespaces.ts';

/** How to print an image. */
export interface JsonOptions {
  /** Print numbers as flags, addresses, devices, … where the schema says so. */
  readonly pretty?: boolean;
  /** Print only the sizes of the blobs after messages. */
  readonly withoutPayload?: boolean;
}

/** An image as JSON. */
export function imageToJson({ kind, entries }: DecodedImage, options: JsonOptions = {}): JsonObject {
  return {
    magic: kind.name,
    entries: entries.map((entry, i) => entryToJson(partsAt(kind, i), entry, options)),
  };
}

/** The inverse of {@link imageToJson}: JSON of either form to the bytes of the image. Throws ImageError. */
export function imageFromJson(json: Json, file: string): Uint8Array {
  const { magic, entries } = asObject(json, file, 'the image');
  const kind = Object.values(Images).find((known) => known.name === magic && 'message' in known);
  if (!kind) throw new ImageError({ file, field: 'magic', reason: `unknown magic ${JSON.stringify(magic) ?? ''}` });
  if (!Array.isArray(entries)) throw new ImageError({ file, field: 'entries', reason: 'a list of entries expected' });
  const image = kind as ImageKind;
  const decoded = entries.map((entry, i) => entryFromJson(partsAt(image, i), entry, file));
  return encodeImage(image, decoded, file);
}

/** The message and the blob codec of the entry at a certain index of an image. */
interface Parts {
  readonly message: Message;
  readonly payload: AnyPayload | undefined;
}

function partsAt(kind: ImageKind, index: number): Parts {
  if (index > 0 || !('head' in kind)) return { message: kind.message(), payload: kind.payload };
  const { head, headPayload } = kind as HeadedKind;
  return { message: head(), payload: headPayload };
}

function entryToJson(parts: Parts, entry: Entry<Fields>, options: JsonOptions): JsonObject {
  const object = messageToJson(parts.message, entry.message, options.pretty ?? false);
  if (!parts.payload || entry.payload === undefined) return object;
  if (!options.withoutPayload) object.extra = payloadToJson(parts.payload, entry.payload);
  else if (parts.payload.form !== 'content') object.extra = `... <${humanSize(payloadSize(parts.payload, entry))}>`;
  return object;
}

function entryFromJson(parts: Parts, json: Json, file: string): Entry<Fields> {
  const { extra: payload, ...rest } = asObject(json, file, parts.message.name);
  const message = messageFromJson(parts.message, rest, file);
  if (payload === undefined || payload === '') return { message };
  if (!parts.payload)
    throw new ImageError({ file, field: `${parts.message.name}.extra`, reason: 'no data belongs here' });
  return { message, payload: payloadFromJson(parts.payload, payload, file) };
}

/** A size as `17B`, `1.5KB`, … */
function humanSize(bytes: number): string {
  let size = bytes;
  for (const unit of ['', 'K', 'M', 'G', 'T', 'P', 'E', 'Z']) {
    if (size < 1024) return `${Number.isInteger(size) ? size : size.toFixed(1)}${unit}B`;
    size /= 1024;
  }
  return `${size.toFixed(1)}YB`;
}

/** The blob of any kind, as {@link Entry} holds it without knowing the kind. */
type AnyPayload = PayloadCodec<Fields, unknown>;

function payloadToJson({ form }: AnyPayload, payload: unknown): Json {
  switch (form) {
    case 'queues': {
      const { inq, outq } = payload as TcpQueues;
      return { inq: encodeBase64(inq), outq: encodeBase64(outq) };
    }
    case 'values':
      return [...(payload as Uint16Array)];
    case 'messages':
      return (payload as QueuedMessage[]).flatMap(({ message, data }) => [
        messageToJson(ipcMsg, message, false),
        encodeBase64(data),
      ]);
    default:
      return encodeBase64(payload as Uint8Array);
  }
}

function payloadFromJson({ form }: AnyPayload, json: Json, file: string): unknown {
  switch (form) {
    case 'queues': {
      const { inq = '', outq = '' } = asObject(json, file, 'the queues');
      return { inq: bytesFromJson(inq, file), outq: bytesFromJson(outq, file) };
    }
    case 'values':
      if (!Array.isArray(json) || !json.every(isSemaphoreValue))
        throw badPayload(file, 'a list of 16-bit values expected');
      return Uint16Array.from(json);
    case 'messages':
      return messagesFromJson(json, file);
    default:
      return bytesFromJson(json, file);
  }
}

/** A list in which each message is followed by its data. */
function messagesFromJson(json: Json, file: string): QueuedMessage[] {
  if (!Array.isArray(json)) throw badPayload(file, 'a list of messages expected');
  const messages: QueuedMessage[] = [];
  for (let i = 0; i + 1 < json.length; i += 2) {
    const message = messageFromJson(ipcMsg, json[i] as Json, file) as unknown as IpcMsg;
    messages.push({ message, data: bytesFromJson(json[i + 1] as Json, file).subarray(0, message.msize) });
  }
  return messages;
}

function isSemaphoreValue(json: Json): json is number {
  return typeof json === 'number' && json >>> 0 === json && json <= 0xffff;
}

function bytesFromJson(json: Json, file: string): Uint8Array {
  if (typeof json !== 'string') throw badPayload(file, 'base64 text expected');
  return decodeBase64(json);
}

function badPayload(file: string, reason: string): ImageError {
  return new ImageError({ file, field: 'extra', reason });
}

/** How many bytes of data there are, as crit counts them: without padding. */
function payloadSize({ form }: AnyPayload, { message, payload }: Entry<Fields>): number {
  switch (form) {
    case 'segment':
      return Number(message.size);
    case 'queues':
      return (payload as TcpQueues).inq.length + (payload as TcpQueues).outq.length;
    case 'values':
      return (payload as Uint16Array).byteLength;
    case 'messages':
      return (payload as QueuedMessage[]).reduce(
        (sum, { message, data }) => sum + encodeMessage(ipcMsg, message).length + data.length,
        0,
      );
    default:
      return (payload as Uint8Array).length;
  }
}
