/**
 * The blobs that follow some messages: queued bytes, semaphore values, file contents. The message before a blob tells
 * its length. Blobs are read as views of the image, not as copies.
 */

import { readMessage, writeMessage } from './codec.ts';
import type { BpfmapDataEntry } from './schema/bpf.ts';
import type { GhostChunkEntry, GhostFileEntry, PipeDataEntry } from './schema/files.ts';
import { type IpcMsg, type IpcMsgEntry, type IpcSemEntry, type IpcShmEntry, ipcMsg } from './schema/namespaces.ts';
import type { SkPacketEntry, TcpStreamEntry } from './schema/sockets.ts';
import type { Reader, Writer } from './wire.ts';

/**
 * What a blob holds, which decides its form in crit's JSON: bytes; the content of a file; a memory segment; the queues
 * of a TCP connection; the values of semaphores; messages.
 */
export type PayloadForm = 'bytes' | 'content' | 'segment' | 'queues' | 'values' | 'messages';

/** How the blob after a message is read and written. */
export interface PayloadCodec<M, E> {
  readonly form: PayloadForm;
  /** Undefined where this message has no blob. */
  read(reader: Reader, message: M): E | undefined;
  /** Writes the blob in front of what was written before. Throws ImageError if the blob does not fit its message. */
  write(writer: Writer, message: M, payload: E | undefined): void;
}

function plainBytes<M>(sizeOf: (message: M) => number, form: PayloadForm = 'bytes'): PayloadCodec<M, Uint8Array> {
  return {
    form,
    read: (reader, message) => reader.raw(sizeOf(message)),
    write: (writer, message, payload = new Uint8Array()) => {
      expectSize(writer, payload.length, sizeOf(message));
      writer.raw(payload);
    },
  };
}

function expectSize(writer: Writer, there: number, said: number): void {
  if (there !== said) throw writer.error(`the message announces ${said} bytes after it, ${there} are given`);
}

/** The unread bytes of a pipe. */
export const pipeBytes = plainBytes<PipeDataEntry>((message) => message.bytes);

/** One packet of a socket's queue. */
export const packetBytes = plainBytes<SkPacketEntry>((message) => message.length);

/** A BPF map's keys, then its values. */
export const mapBytes = plainBytes<BpfmapDataEntry>((message) => message.keys_bytes + message.values_bytes);

/** The two queues of a TCP connection. */
export interface TcpQueues {
  readonly inq: Uint8Array;
  readonly outq: Uint8Array;
}

/** The received bytes that are not read yet, then the bytes that are not sent or not acknowledged yet. */
export const tcpQueues: PayloadCodec<TcpStreamEntry, TcpQueues> = {
  form: 'queues',
  read: (reader, message) => ({ inq: reader.raw(message.inq_len), outq: reader.raw(message.outq_len) }),
  write: (writer, message, payload) => {
    const { inq, outq } = payload ?? { inq: new Uint8Array(), outq: new Uint8Array() };
    expectSize(writer, inq.length, message.inq_len);
    expectSize(writer, outq.length, message.outq_len);
    writer.raw(outq);
    writer.raw(inq);
  },
};

/** The content of a deleted file: the rest of the image, unless the message says that it comes in chunks. */
export const ghostContent: PayloadCodec<GhostFileEntry, Uint8Array> = {
  form: 'content',
  read: (reader, message) => (message.chunks ? undefined : reader.raw(reader.end - reader.pos)),
  write: (writer, message, payload) => {
    if (message.chunks && payload) throw writer.error('content beside chunks');
    if (payload) writer.raw(payload);
  },
};

/** One piece of a deleted file with holes. */
export const ghostChunk: PayloadCodec<GhostChunkEntry, Uint8Array> = plainBytes(
  (message) => Number(message.len),
  'content',
);

/** A semaphore array's values: 16 bits each, padded to eight bytes. */
export const semValues: PayloadCodec<IpcSemEntry, Uint16Array> = {
  form: 'values',
  read: (reader, message) => {
    const blob = reader.raw(padded(message.nsems * 2, 8));
    const view = new DataView(blob.buffer, blob.byteOffset, blob.length);
    return Uint16Array.from({ length: message.nsems }, (_, i) => view.getUint16(2 * i, true));
  },
  write: (writer, message, payload = new Uint16Array()) => {
    if (payload.length !== message.nsems) throw writer.error(`${message.nsems} semaphores, ${payload.length} values`);
    const blob = new Uint8Array(padded(message.nsems * 2, 8));
    const view = new DataView(blob.buffer);
    for (const [i, value] of payload.entries()) view.setUint16(2 * i, value, true);
    writer.raw(blob);
  },
};

/** A message of a System V queue. */
export interface QueuedMessage {
  readonly message: IpcMsg;
  readonly data: Uint8Array;
}

/** A message queue's messages: each a length, an ipc_msg, and its data padded to eight bytes. */
export const queuedMessages: PayloadCodec<IpcMsgEntry, QueuedMessage[]> = {
  form: 'messages',
  read: (reader, queue) => {
    const messages: QueuedMessage[] = [];
    for (let i = 0; i < queue.qnum; i++) {
      const message = readFramed(reader, () => readMessage(reader, ipcMsg));
      const data = reader.raw(message.msize);
      reader.raw(padded(message.msize, 8) - message.msize);
      messages.push({ message, data });
    }
    return messages;
  },
  write: (writer, queue, payload = []) => {
    if (payload.length !== queue.qnum) throw writer.error(`${queue.qnum} messages announced, ${payload.length} given`);
    for (const { message, data } of payload.toReversed()) {
      expectSize(writer, data.length, message.msize);
      writer.zeros(padded(message.msize, 8) - message.msize);
      writer.raw(data);
      writeFramed(writer, () => writeMessage(writer, ipcMsg, message));
    }
  },
};

/** A System V segment's memory, padded to four bytes, unless it is stored as pages. */
export const segmentBytes: PayloadCodec<IpcShmEntry, Uint8Array> = {
  form: 'segment',
  read: (reader, message) => {
    if (message.in_pagemaps) return new Uint8Array();
    const size = Number(message.size);
    const data = reader.raw(size);
    reader.raw(padded(size, 4) - size);
    return data;
  },
  write: (writer, message, payload) => {
    if (message.in_pagemaps) {
      if (payload && payload.length > 0) throw writer.error('content beside pages');
      return;
    }
    const size = Number(message.size);
    expectSize(writer, payload?.length ?? 0, size);
    writer.zeros(padded(size, 4) - size);
    if (payload) writer.raw(payload);
  },
};

function padded(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}

/** Reads a u32 length and, with the reader bounded by it, what follows. */
export function readFramed<T>(reader: Reader, body: () => T): T {
  reader.field = undefined;
  const start = reader.pos;
  const length = reader.fixed32();
  if (length > reader.end - reader.pos) {
    throw reader.error(`entry of ${length} bytes announced, ${reader.end - reader.pos} there`, start);
  }
  const outer = reader.end;
  reader.end = reader.pos + length;
  const value = body();
  reader.end = outer;
  return value;
}

/** Writes what `body` writes and, in front of it, its length as u32. */
export function writeFramed(writer: Writer, body: () => void): void {
  const before = writer.length;
  body();
  writer.fixed32(writer.length - before);
}
