import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { IPPROTO, SHUT, SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { syscall } from '../../../kernel/syscall.ts';
import { carriesQueues } from '../../../network/connections.ts';
import { fieldsOf, showEnd } from '../../../network/end-fields.ts';
import { liftMadeLocks } from '../../../network/made-locks.ts';
import { isClosedHere, isConnected, tcpEvents, tcpInfo } from '../../../network/tcp-state.ts';
import type { Captured, InetProtocol, MadeSocket } from './protocol.ts';
import { shutDownAlone } from './shut-down.ts';
import { Connections } from './tcp-dump.ts';
import { tcpNotice, tcpObstacle, wasConnected } from './tcp-obstacles.ts';
import { captureForgottenTcp, captureTcpOptions, restoreForgottenTcp, restoreTcpOptions } from './tcp-options.ts';
import { Queues } from './tcp-queue-dump.ts';
import { endQueues, fillQueue, savedQueue } from './tcp-queue-restore.ts';
import { Connection } from './tcp-restore.ts';

export const tcp: InetProtocol = {
  handles: (type, protocol) => type === SOCK.STREAM && (protocol === IPPROTO.TCP || protocol === IPPROTO.MPTCP),
  obstacle: tcpObstacle,
  notice: tcpNotice,

  capture(socket, id, context): Captured {
    const { file, local } = socket;
    const { state, sacked } = tcpInfo(local);
    const { ended, error } = tcpEvents(local);
    if (state === TCP_STATE.LISTEN && carriesQueues(context)) Queues.of(context).save(file, id);
    const hasPeer = state !== TCP_STATE.LISTEN && wasConnected(socket);
    const note = captureForgottenTcp(local, hasPeer, context);
    const shutdown = (ended ? 1 : 0) | (isClosedHere(state) ? 2 : 0);
    const entry = {
      state,
      backlog: state === TCP_STATE.LISTEN ? sacked : 0,
      tcp_opts: captureTcpOptions(local),
      ...(shutdown === 0 ? {} : { shutdown }),
    };
    if (!hasPeer || context.options.tcpClose) return { entry, note };
    const now = Connections.of(context).stateOf(file);
    return { entry: { ...entry, state: now }, note: error ? { ...note, error } : note };
  },

  captured: (context) => Connections.ifMade(context)?.settle(),

  end(context, how) {
    using connections = Connections.ifMade(context);
    if (how !== 'dead') return;
    connections?.silence();
    Queues.ifMade(context)?.silence();
  },

  bindsItself: isConnection,

  connect(socket) {
    const { entry, context } = socket;
    const [waiting] = savedQueue(socket);
    if (waiting && !context.options.tcpEstablished) throw notAllowed(waiting);
    if (!isConnection(entry)) return;
    const { tcpEstablished, tcpClose } = context.options;
    if (tcpClose) return;
    if (context.images.inventory().tcp_close) throw letGoBefore(entry);
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
    else if (!isConnection(entry) && (entry.shutdown ?? 0) & 1) shutDownAlone(local, SHUT.RD);
  },

  rebuilt: fillQueue,

  restoreEnd(context, how) {
    endQueues(context);
    liftMadeLocks(context);
    for (const made of CONNECTIONS.ifMade(context)?.values() ?? []) {
      using connection = made;
      if (how === 'restored') connection.resume();
    }
  },
};

/** The connections of a restore, by file ID. */
const CONNECTIONS = new Slot((_: RestoreContext) => new Map<number, Connection>());

/** Whether an entry is of a socket that is, or was, connected. */
function isConnection(entry: InetSkEntry): boolean {
  return entry.dst_port !== 0 && entry.state !== TCP_STATE.LISTEN;
}

/** `--tcp-close`: nothing can be received or sent any more; the kernel notes that and yet answers ENOTCONN. */
function letGo({ local }: MadeSocket): void {
  shutDownAlone(local, SHUT.RDWR);
}

function letGoBefore(entry: InetSkEntry): StasisError {
  return new StasisError({
    kind: 'unsupported',
    code: 'SOCKET_TCP',
    resource: `socket:[${entry.ino}]`,
    reason: 'its connection was let go by the dump (--tcp-close)',
    remedy: 'restore with --tcp-close as well',
  });
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
