/** State of a unix socket that CRIU's images have no place for. */
import type { RestoreContext } from '../../../contract/contract.ts';
import { dictionary, type FormType, flag, list, object, optional, signed, tuple, whole } from '../../../images/form.ts';
import { notedFile } from '../../../support/file-notes.ts';

const note = object({
  /** The process that made the pair, from SO_PEERCRED: PID, effective user and group. */
  maker: optional(tuple(whole, whole, whole)),
  /** The peer was closed with unread data, so the next call fails with ECONNRESET. */
  reset: optional(flag),
  /** Senders of messages that wait: place in the queue, PID, user, group. */
  senders: optional(list(tuple(whole, whole, whole, whole))),
  /** See network/socket-options.ts. */
  options: optional(dictionary(signed)),
});

/** The note on a socket, as the file of notes has it. */
export type SocketNote = FormType<typeof note>;

export const KIND = 'unix';

/** The note of a socket; empty if there is none, or if CRIU made the images. @throws ImageError */
export function noteOf(context: RestoreContext, id: number): SocketNote {
  return notedFile(context, KIND, id, note) ?? {};
}
