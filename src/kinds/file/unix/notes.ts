/** What CRIU's images have no place for, of a unix socket. */
import type { RestoreContext } from '../../../contract/contract.ts';
import { dictionary, type FormType, flag, list, object, optional, signed, tuple, whole } from '../../../images/form.ts';
import { notedFile } from '../../../support/file-notes.ts';

const note = object({
  /** Who made the pair, as SO_PEERCRED tells: PID, effective user and group. */
  maker: optional(tuple(whole, whole, whole)),
  /** The peer closed with something unread: the next call fails with ECONNRESET. */
  reset: optional(flag),
  /** Senders of messages that wait: place in the queue, PID, user, group. */
  senders: optional(list(tuple(whole, whole, whole, whole))),
  /** See support/socket-options.ts. */
  options: optional(dictionary(signed)),
});

/** The note on a socket, as the file of notes has it. */
export type SocketNote = FormType<typeof note>;

export const KIND = 'unix';

/** What was noted for a socket; nothing if CRIU made the images. @throws ImageError */
export function noteOf(context: RestoreContext, id: number): SocketNote {
  return notedFile(context, KIND, id, note) ?? {};
}
