/** What CRIU's images have no place for, of a unix socket. */
import type { Json, RestoreContext } from '../../../contract/contract.ts';
import { notedFile } from '../../../support/file-notes.ts';

/** As in the file of notes (kinds/own-place.ts). */
export type SocketNote = {
  /** Who made the pair, as SO_PEERCRED tells: PID, effective user and group. */
  readonly maker?: readonly [pid: number, uid: number, gid: number];
  /** The peer closed with something unread: the next call fails with ECONNRESET. */
  readonly reset?: boolean;
  /** Senders of messages that wait, by place in the queue. */
  readonly senders?: readonly (readonly [place: number, pid: number, uid: number, gid: number])[];
  /** See kinds/socket-options.ts. */
  readonly options?: Readonly<Record<string, number>>;
};

export const KIND = 'unix';

/** What was noted for a socket; nothing if CRIU made the images. */
export function noteOf(context: RestoreContext, id: number): SocketNote {
  const noted: Json | undefined = notedFile(context, KIND, id);
  return noted !== null && typeof noted === 'object' && !Array.isArray(noted) ? (noted as SocketNote) : {};
}
