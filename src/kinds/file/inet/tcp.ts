/** TCP. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../../../contract/contract.ts';
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
import { isClosedHere, isConnected, tcpEvents, tcpInfo } from './tcp-state.ts';
import { isChanging, isUnchanged, readStream, type Stream } from './tcp-stream.ts';

export const tcp: InetProtocol = {
  handles: (type, protocol) => type === SOCK.STREAM && protocol === IPPROTO.TCP,
  obstacle: tcpObstacle,
  notice: tcpNotice,

  capture(socket, _id, context): Captured {
    const { file, local, family } = socket;
    const { state, sacked } = tcpInfo(local);
    const { ended, error } = tcpEvents(local);
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
    save(file, stream, context);
    return { entry: { ...entry, state: stream.state }, note: error ? { ...note, error } : note };
  },

  /**
   * A segment that was on its way between two sockets of the tree may have come in after one of them was read: then it
   * would be in both images, or in none. So all are looked at again until none has changed.
   */
  captured(context) {
    const saved = SAVED.of(context);
    for (let turn = 0; [...saved.values()].some(isMoving); turn++) {
      const changed = [...saved].filter(([file, stream]) => {
        return !RepairDesk.of(context).inRepair(file.local, () => isUnchanged(file.local, stream));
      });
      if (changed.length === 0) return;
      for (const [file, stream] of changed) {
        const now = RepairDesk.of(context).inRepair(file.local, () => readStream(file));
        if (turn === PATIENCE || now.state !== stream.state) throw isChanging(file);
        save(file, now, context);
      }
    }
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
    else if (!isConnection(entry) && (entry.shutdown ?? 0) & 1) trySyscall('shutdown', local, SHUT.RD);
  },

  restoreEnd(context, how) {
    for (const made of CONNECTIONS.ifMade(context)?.values() ?? []) {
      using connection = made;
      if (how === 'restored') connection.resume();
    }
  },
};

/** The connections that were saved. */
const SAVED = new Slot((_: DumpContext) => new Map<OpenFile, Stream>());

/** How often connections that change are saved again. */
const PATIENCE = 10;

function save(file: OpenFile, stream: Stream, context: DumpContext): void {
  const { entry, inq, outq } = stream;
  context.images.writeEntries(Images.tcpStream, file.stat.ino, [{ message: entry, extra: { inq, outq } }]);
  // Only the numbers are needed again, and queues may be large.
  SAVED.of(context).set(file, { ...stream, inq: NOTHING, outq: NOTHING });
}

const NOTHING = new Uint8Array();

/** Whether the kernel may send something for a connection although its task is frozen. */
function isMoving({ state, entry }: Stream): boolean {
  return (entry.outq_len ?? 0) > 0 || isClosedHere(state) || state === TCP_STATE.SYN_SENT;
}

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
