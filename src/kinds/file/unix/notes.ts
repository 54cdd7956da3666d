/** State of a unix socket that CRIU's images have no place for. */
import type { RestoreContext } from '../../../contract/contract.ts';
import {
  base64,
  dictionary,
  type FormType,
  flag,
  list,
  object,
  optional,
  signed,
  text,
  tuple,
  whole,
} from '../../../images/form.ts';
import { notedFile } from '../../../support/file-notes.ts';

const note = object({
  /**
   * SO_PEERCRED: PID, effective user and group. Of a pair, the process that made it, noted of one end if both tell the
   * same; of a client, who called listen(2); of the other end, who called connect(2); of a listening socket itself.
   */
  maker: optional(tuple(whole, whole, whole)),
  /** The peer was closed with unread data, so the next call fails with ECONNRESET. */
  reset: optional(flag),
  /** Senders of messages that wait: place in the queue, PID, user, group. */
  senders: optional(list(tuple(whole, whole, whole, whole))),
  /** Names of the sockets that datagrams that wait came from: place in the queue, name. */
  sources: optional(list(tuple(whole, base64))),
  /** See network/socket-options.ts. */
  options: optional(dictionary(signed)),
  /** The path of its file, if it does not follow from its name. */
  path: optional(text),
  /** Device and inode of its file: sockets with the same one share a name. */
  address: optional(text),
  /** Its name is that of the listening socket that it was accepted from. */
  accepted: optional(flag),
  /** Of a connection that waits to be accepted: its place in the queue. */
  place: optional(whole),
  /** Of a listening socket: what waits in it is in a file of its own (waiting.ts). */
  waiting: optional(flag),
  /** A datagram socket whose peer is closed. */
  widowed: optional(flag),
});

/** The note on a socket, as the file of notes has it. */
export type SocketNote = FormType<typeof note>;

export const KIND = 'unix';

/** The note of a socket; empty if there is none, or if CRIU made the images. @throws ImageError */
export function noteOf(context: RestoreContext, id: number): SocketNote {
  return notedFile(context, KIND, id, note) ?? {};
}
