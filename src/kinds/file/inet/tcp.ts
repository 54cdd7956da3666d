/** TCP. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { TCP_STATE } from '../../../kernel/constants/inet.ts';
import { IPPROTO, SHUT, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { getOptionIfAny } from '../../../kernel/sockets.ts';
import { syscall, trySyscall } from '../../../kernel/syscall.ts';
import { fieldsOf, showEnd, sockaddrSize } from './address.ts';
import type { Captured, InetProtocol, MadeSocket } from './protocol.ts';
import { RepairDesk } from './repair-desk.ts';
import { tcpNotice, tcpObstacle } from './tcp-obstacles.ts';
import { captureForgottenTcp, captureTcpOptions, restoreForgottenTcp, restoreTcpOptions } from './tcp-options.ts';
import { Connection } from './tcp-restore.ts';
import { eventsOf, isClosedHere, isConnected, tcpInfo } from './tcp-state.ts';
import { readStream } from './tcp-stream.ts';

export const tcp: InetProtocol = {
  handles: (type, protocol) => type === SOCK.STREAM && protocol === IPPROTO.TCP,
  obstacle: tcpObstacle,
  notice: tcpNotice,

  capture(socket, _id, context): Captured {
    const { file, local, family } = socket;
    const { state, sacked } = tcpInfo(local);
    const { ended, error } = eventsOf(local);
    const wasConnected = state !== TCP_STATE.LISTEN && hasPeer(local, family);
    const note = captureForgottenTcp(local, wasConnected, context);
    const shutdown = (ended ? 1 : 0) | (isClosedHere(state) ? 2 : 0);
    const entry = {
      state,
      backlog: state === TCP_STATE.LISTEN ? sacked : 0,
      tcp_opts: captureTcpOptions(local),
      ...(shutdown === 0 ? {} : { shutdown }),
    };
    if (!wasConnected || context.options.tcpClose) return { entry, note };
    const stream = RepairDesk.of(context).inRepair(local, () => readStream(file));
    const { inq, outq } = stream;
    context.images.writeEntries(Images.tcpStream, file.stat.ino, [{ message: stream.entry, extra: { inq, outq } }]);
    return { entry: { ...entry, state: stream.state }, note: error ? { ...note, error } : note };
  },

  end(context, how) {
    const desk = RepairDesk.ifMade(context);
    if (how === 'dead') desk?.silence();
    desk?.close();
  },

  bindsItself: isConnection,

  connect(socket) {
    const { entry, context } = socket;
    if (!isConnection(entry)) return;
    const { tcpEstablished, tcpClose } = context.options;
    if (tcpClose) return;
    if (!tcpEstablished && isConnected(entry.state)) throw notAllowed(entry);
    const connection = new Connection(socket);
    connection.connect();
    CONNECTIONS.of(context).set(entry.id, connection);
  },

  fill({ entry, context }) {
    CONNECTIONS.of(context).get(entry.id)?.fill();
  },

  open(socket) {
    const { entry, local, note, context } = socket;
    if (entry.tcp_opts) restoreTcpOptions(local, entry.tcp_opts);
    restoreForgottenTcp(local, note, context, `socket:[${entry.ino}]`);
    if (entry.state === TCP_STATE.LISTEN) syscall('listen', local, entry.backlog);
    else if (isConnection(entry) && context.options.tcpClose) letGo(socket);
    else if (!isConnection(entry) && (entry.shutdown ?? 0) & 1) trySyscall('shutdown', local, SHUT.RD);
  },

  restoreEnd(context, how) {
    for (const made of CONNECTIONS.ifMade(context)?.values() ?? []) {
      using connection = made;
      if (how === 'restored') connection.resume();
    }
  },
};

/** The connections of a restore, by file ID. */
const CONNECTIONS = new Slot((_: RestoreContext) => new Map<number, Connection>());

/** Whether a socket of a task is, or was, connected. */
function hasPeer(local: LocalFd, family: number): boolean {
  return getOptionIfAny(local, SO.PEERNAME, sockaddrSize(family)) !== undefined;
}

/** Whether an entry is of a socket that is, or was, connected. */
function isConnection(entry: InetSkEntry): boolean {
  return entry.dst_port !== 0 && entry.state !== TCP_STATE.LISTEN;
}

/** `--tcp-close`: nothing can be received or sent any more; the kernel notes that and yet answers ENOTCONN. */
function letGo({ local }: MadeSocket): void {
  trySyscall('shutdown', local, SHUT.RDWR);
}

function notAllowed(entry: InetSkEntry): StasisError {
  const ends = (['source', 'destination'] as const).map((end) => showEnd(entry.family, fieldsOf(entry, end)));
  return new StasisError({
    kind: 'unsupported',
    code: 'SOCKET_TCP',
    resource: `socket:[${entry.ino}]`,
    reason: `it is a connection of TCP between ${ends.join(' and ')}`,
    remedy: 'restore the connection with --tcp-established, or let it go with --tcp-close',
  });
}
