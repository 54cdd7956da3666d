/**
 * Reads and writes complete images: the magics, then entries up to the end of the file. An entry is a length, a message
 * and, in some kinds, a blob.
 *
 *     const [mm] = readImage(Images.mm, 'mm-17.img', bytes);
 *     const bytes = writeImage(Images.mm, [mm]);
 */

import { type DecodeOptions, readMessage, writeMessage } from './codec.ts';
import { ImageError } from './error.ts';
import type { HeadedKind, ImageKind, RawKind } from './kind.ts';
import { Images } from './kinds.ts';
import { COMMON_MAGIC, SERVICE_MAGIC } from './magic.ts';
import type { InputOf, Message, TypeOf } from './message.ts';
import { type PayloadCodec, readFramed, writeFramed } from './payload.ts';
import { Reader, Writer } from './wire.ts';

/** A message and the blob after it. */
export interface Entry<M, E = unknown> {
  readonly message: M;
  readonly payload?: E | undefined;
}

/** An image of any kind, as crit sees it. */
export interface DecodedImage {
  readonly kind: ImageKind;
  readonly entries: Entry<Record<string, unknown>>[];
}

type Options = Omit<DecodeOptions, 'file'>;

/** The messages of an image that has no blobs; throws ImageError for anything else than an image of this kind. */
export function readImage<M extends Message>(
  kind: ImageKind<M, never>,
  file: string,
  bytes: Uint8Array,
  options?: Options,
): TypeOf<M>[] {
  const reader = open(kind, file, bytes, options);
  const message = kind.message();
  const messages: TypeOf<M>[] = [];
  while (reader.pos < reader.end) messages.push(readFramed(reader, () => readMessage(reader, message)));
  return messages;
}

/** The messages of an image with their blobs. */
export function readEntries<M extends Message, E>(
  kind: ImageKind<M, E>,
  file: string,
  bytes: Uint8Array,
  options?: Options,
): Entry<TypeOf<M>, E>[] {
  return entriesOf(kind, open(kind, file, bytes, options));
}

/** An image whose first entry differs from the rest: a pagemap, a deleted file's content. */
export function readHeaded<H extends Message, M extends Message, E>(
  kind: HeadedKind<H, M, E>,
  file: string,
  bytes: Uint8Array,
  options?: Options,
): { head: Entry<TypeOf<H>, E>; entries: Entry<TypeOf<M>, E>[] } {
  const reader = open(kind, file, bytes, options);
  return { head: readEntry(reader, kind.head(), kind.headPayload), entries: entriesOf(kind, reader) };
}

/**
 * Decodes an image of the kind that its magic names. Images of CRIU before 1.2, which have no common magic, are
 * accepted.
 */
export function decodeImage(file: string, bytes: Uint8Array, options?: Options): DecodedImage {
  const kind = identifyImage(file, bytes);
  const reader = new Reader(bytes, file, options?.onUnknown);
  const first = reader.fixed32();
  if (first === COMMON_MAGIC || first === SERVICE_MAGIC) reader.fixed32();
  const entries: Entry<Record<string, unknown>>[] = [];
  if ('head' in kind) entries.push(readEntry(reader, kind.head(), kind.headPayload));
  for (const entry of entriesOf(kind, reader)) entries.push(entry);
  return { kind, entries };
}

/**
 * The kind of image that the magic at the beginning of the bytes names. Throws {@link UnknownMagicError} for raw images
 * and for anything that is no image.
 */
export function identifyImage(file: string, bytes: Uint8Array): ImageKind | HeadedKind {
  const reader = new Reader(bytes, file);
  let magic = reader.fixed32();
  if (magic === COMMON_MAGIC || magic === SERVICE_MAGIC) magic = reader.fixed32();
  for (const kind of Object.values(Images)) {
    if (kind.magic === magic && 'message' in kind) return kind as ImageKind | HeadedKind;
  }
  throw new UnknownMagicError(file, magic);
}

/** The file does not begin with the magic of any kind of image. */
export class UnknownMagicError extends ImageError {
  readonly magic: number;

  constructor(file: string, magic: number) {
    super({ file, offset: 0, reason: `unknown magic 0x${magic.toString(16)}` });
    this.name = 'UnknownMagicError';
    this.magic = magic;
  }
}

/** The bytes of an image without blobs. `file` only names it in errors. */
export function writeImage<M extends Message>(
  kind: ImageKind<M, never>,
  messages: readonly InputOf<M>[],
  file = kind.name,
): Uint8Array {
  const writer = new Writer(file, 4096);
  const message = kind.message();
  for (let i = messages.length - 1; i >= 0; i--) {
    writeFramed(writer, () => writeMessage(writer, message, messages[i] as InputOf<M>));
  }
  return finish(kind, writer);
}

/** The bytes of an image with blobs. */
export function writeEntries<M extends Message, E>(
  kind: ImageKind<M, E>,
  entries: readonly Entry<InputOf<M>, E>[],
  file = kind.name,
): Uint8Array {
  const writer = new Writer(file, 4096);
  putEntries(writer, kind, entries, 0);
  return finish(kind, writer);
}

/** The bytes of an image whose first entry differs from the rest. */
export function writeHeaded<H extends Message, M extends Message, E>(
  kind: HeadedKind<H, M, E>,
  head: Entry<InputOf<H>, E>,
  entries: readonly Entry<InputOf<M>, E>[],
  file = kind.name,
): Uint8Array {
  const writer = new Writer(file, 4096);
  putEntries(writer, kind, entries, 0);
  putEntry(writer, kind.head(), kind.headPayload, head);
  return finish(kind, writer);
}

/** The inverse of {@link decodeImage}. */
export function encodeImage(
  kind: ImageKind,
  entries: readonly Entry<Record<string, unknown>>[],
  file = kind.name,
): Uint8Array {
  const writer = new Writer(file, 4096);
  const headed = 'head' in kind ? (kind as HeadedKind) : undefined;
  putEntries(writer, kind, entries, headed ? 1 : 0);
  const [head] = entries;
  if (headed && head) putEntry(writer, headed.head(), headed.headPayload, head);
  return finish(kind, writer);
}

function entriesOf<M extends Message, E>(kind: ImageKind<M, E>, reader: Reader): Entry<TypeOf<M>, E>[] {
  const message = kind.message();
  const entries: Entry<TypeOf<M>, E>[] = [];
  while (reader.pos < reader.end) entries.push(readEntry(reader, message, kind.payload));
  return entries;
}

function readEntry<M extends Message, E>(
  reader: Reader,
  declared: M,
  codec: PayloadCodec<TypeOf<M>, E> | undefined,
): Entry<TypeOf<M>, E> {
  const message = readFramed(reader, () => readMessage(reader, declared));
  const payload = codec?.read(reader, message);
  return payload === undefined ? { message } : { message, payload };
}

function putEntries<M extends Message, E>(
  writer: Writer,
  kind: ImageKind<M, E>,
  entries: readonly Entry<InputOf<M>, E>[],
  from: number,
): void {
  const message = kind.message();
  for (let i = entries.length - 1; i >= from; i--) {
    putEntry(writer, message, kind.payload, entries[i] as Entry<InputOf<M>, E>);
  }
}

function putEntry<M extends Message, E>(
  writer: Writer,
  declared: M,
  codec: PayloadCodec<TypeOf<M>, E> | undefined,
  { message, payload }: Entry<InputOf<M>, E>,
): void {
  // The codec only looks at lengths and flags, which are the same in both types.
  codec?.write(writer, message as unknown as TypeOf<M>, payload);
  writeFramed(writer, () => writeMessage(writer, declared, message));
}

/** Checks the magics; returns a reader positioned behind them. */
function open(kind: RawKind, file: string, bytes: Uint8Array, options: Options | undefined): Reader {
  const reader = new Reader(bytes, file, options?.onUnknown);
  for (const magic of magicsOf(kind)) {
    const there = reader.fixed32();
    if (there !== magic) {
      throw new ImageError({
        file,
        offset: 0,
        reason: `magic 0x${there.toString(16)} where 0x${magic.toString(16)} belongs`,
      });
    }
  }
  return reader;
}

function finish(kind: RawKind, writer: Writer): Uint8Array {
  for (const magic of magicsOf(kind).toReversed()) writer.fixed32(magic);
  return writer.finish();
}

function magicsOf(kind: RawKind): number[] {
  if (kind.framing === 'bare') return [kind.magic];
  return [kind.framing === 'service' ? SERVICE_MAGIC : COMMON_MAGIC, kind.magic];
}
