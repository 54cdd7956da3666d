/**
 * The socket by which a process asked to be dumped itself. As with CRIU the restored process finds the answer there: it
 * can tell by it that it has been restored. Then it finds the connection closed.
 */
import { encodeMessage } from '../../../images/codec.ts';
import { CriuReqType, criuResp } from '../../../images/schema/rpc.ts';
import { TCP_STATE } from '../../../kernel/constants/sockets.ts';
import type { Queued } from './fill.ts';
import type { SavedSocket } from './graph.ts';

/** `uflags` of an entry: the socket is the client's end of a connection to whoever dumped it. */
export const USK_SERVICE = 2;

/**
 * The sockets, of which those of clients are connections that have been closed at the other end, and the queues, in
 * which these have their answer.
 */
export function withAnswers(
  sockets: readonly SavedSocket[],
  queues: ReadonlyMap<number, Queued[]>,
): { readonly sockets: readonly SavedSocket[]; readonly queues: ReadonlyMap<number, Queued[]> } {
  const isClients = ({ entry }: SavedSocket): boolean => (entry.uflags & USK_SERVICE) !== 0;
  const clients = sockets.filter(isClients);
  if (clients.length === 0) return { sockets, queues };
  const answered = new Map(queues);
  const bytes = encodeMessage(criuResp, { type: CriuReqType.DUMP, success: true, dump: { restored: true } });
  for (const { entry } of clients) {
    const message = { id_for: entry.id, length: bytes.length, scm: [] };
    answered.set(entry.id, [...(queues.get(entry.id) ?? []), { message, bytes }]);
  }
  return {
    sockets: sockets.map((socket) =>
      isClients(socket) ? { ...socket, entry: { ...socket.entry, peer: 0, state: TCP_STATE.ESTABLISHED } } : socket,
    ),
    queues: answered,
  };
}
