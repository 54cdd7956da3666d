/** Connections that nobody had accepted when they were saved: what images have of them besides tcp-stream-*.img. */
import type { DumpContext, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { type FormType, list, object, whole } from '../images/form.ts';
import type { InetSkEntry } from '../images/schema/sockets.ts';
import { notedFile, noteFile } from '../support/file-notes.ts';

const waiting = object({
  /** Names the image of the connection. */
  ino: whole,
  state: whole,
  src_port: whole,
  src_addr: list(whole),
  dst_port: whole,
  dst_addr: list(whole),
  /** Size of its receive buffer. */
  rcvbuf: whole,
});

const NOTES = 'tcp queue';
const queue = list(waiting);

/** What is noted of a connection, in the words of a socket's entry. */
type WaitingFields = FormType<typeof waiting>;

/** Notes the queue of a listening socket. @throws StasisError (io) */
export function noteQueue(context: DumpContext, id: number, connections: WaitingFields[]): void {
  noteFile(context, NOTES, id, connections);
}

/**
 * The connections in the queues of listening sockets that are to be made again, by the ID of the socket: as entries,
 * with the addresses they were saved with.
 */
export const SAVED_QUEUES = new Slot((context: RestoreContext): ReadonlyMap<number, readonly InetSkEntry[]> => {
  const found = new Map<number, InetSkEntry[]>();
  const { skipInFlight, tcpClose } = context.options;
  if (skipInFlight || tcpClose) return found;
  for (const [id, { isk }] of context.fileEntries) {
    if (!isk) continue;
    const noted = notedFile(context, NOTES, id, queue);
    if (noted)
      found.set(
        id,
        noted.map(({ rcvbuf, ...one }) => ({ ...isk, ...one, opts: { ...isk.opts, so_rcvbuf: rcvbuf } })),
      );
  }
  return found;
});
