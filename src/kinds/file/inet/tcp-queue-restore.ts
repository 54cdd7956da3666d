/**
 * Puts connections that nobody had accepted back into the queues of their listening sockets, when all tasks are rebuilt
 * and before any of them runs. Such a connection has no descriptor and so no repair mode: while it is there, it must
 * not end by the death of Stasis or the failure of the restore, which the other end would be told of (RST).
 */

import { type LocalFd, taskFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { F, O } from '../../../kernel/constants/files.ts';
import { REPAIR, TCP, TCPI_OPT } from '../../../kernel/constants/inet.ts';
import { IPPROTO, SOCK } from '../../../kernel/constants/sockets.ts';
import { duplicate } from '../../../kernel/files.ts';
import { type Fd, syscall } from '../../../kernel/syscall.ts';
import { SAVED_IDS } from '../../../namespaces/made.ts';
import { withoutFilters } from '../../../namespaces/net/kind.ts';
import { acceptAll, endSilently, TakingListener, waitingIn } from '../../../network/accept-queue.ts';
import { AddressMap } from '../../../network/address-map.ts';
import { fieldsOf, showPacketEnd } from '../../../network/end-fields.ts';
import { timestampBetween, type WantedConnection } from '../../../network/handshake.ts';
import { wantedOf } from '../../../network/queue-keeper.ts';
import { SAVED_QUEUES } from '../../../network/saved-queue.ts';
import { Guard } from '../../../tracee/guard.ts';
import type { MadeSocket } from './protocol.ts';

/** The connections of a queue that was saved; none for other sockets. */
export function savedQueue({ entry, context }: Pick<MadeSocket, 'entry' | 'context'>): readonly InetSkEntry[] {
  return SAVED_QUEUES.of(context).get(entry.id) ?? [];
}

/** A queue that was filled again. */
class FilledQueue implements Disposable {
  /** Kept until the tree runs: all other descriptors of ours are closed earlier. */
  readonly #listener: Fd;
  /** Ends the connections without a word if Stasis is killed. It has our descriptors, the network lock among them. */
  readonly #guard: Guard;

  constructor(local: LocalFd, count: number) {
    this.#listener = duplicate(local);
    const flags = syscall('fcntl', local, F.GETFL);
    this.#guard = new Guard((program) => {
      // The guard must not wait for a connection that was not made yet. The tasks that have this flag, too, end then.
      program.attempt('fcntl', taskFd(this.#listener.number), F.SETFL, flags | O.NONBLOCK);
      const on = program.data(new Uint8Array(new Int32Array([REPAIR.ON]).buffer));
      for (let i = 0; i < count; i++) {
        const accepted = program.attempt('accept4', taskFd(this.#listener.number), 0, 0, SOCK.CLOEXEC);
        program.attempt('setsockopt', accepted, IPPROTO.TCP, TCP.REPAIR, on, 4);
      }
    }, 'all');
  }

  /** Empties it again, after an error. */
  empty(): void {
    for (const connection of acceptAll(this.#listener.number)) endSilently(connection);
  }

  [Symbol.dispose](): void {
    this.#guard[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
  }
}

/** The queues of a restore that have been filled. */
const FILLED = new Slot((_: RestoreContext): FilledQueue[] => []);

/**
 * Fills the queue of a listening socket, in whose network namespace we are.
 * @throws StasisError if a connection does not come about
 */
export function fillQueue(socket: MadeSocket): void {
  const { local, context, entry } = socket;
  const queue = savedQueue(socket);
  if (queue.length === 0) return;
  const map = new AddressMap(context.options.inetAddressMap);
  const wanted = queue.map((one) => wantedConnection(map.apply(one), context));
  const filled = new FilledQueue(local, queue.length);
  FILLED.of(context).push(filled);
  context.undo(() => filled.empty());
  using taking = new TakingListener(local, queue.length);
  const before = waitingIn(local);
  const fill = (): void => {
    for (const one of wanted) taking.take(one);
  };
  // The filters of the tree may drop what comes in from strangers at the loopback device.
  const network = entry.ns_id || SAVED_IDS.of(context, context.root).net;
  if (!withoutFilters(context, network, fill)) fill();
  if (waitingIn(local) - before >= queue.length) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'SOCKET_TCP_PENDING',
    resource: `socket:[${entry.ino}]`,
    reason: 'somebody else has got connections that waited in its queue',
    remedy: 'end whoever listens at the same port, or use --skip-in-flight, which loses the connections',
  });
}

/** Called at the end of the restore: the queues belong to the tree, or are empty. */
export function endQueues(context: RestoreContext): void {
  for (const filled of FILLED.ifMade(context)?.splice(0) ?? []) filled[Symbol.dispose]();
}

/** Reads the image of a connection. @throws ImageError */
function wantedConnection(entry: InetSkEntry, context: RestoreContext): WantedConnection {
  const [found] = context.images.readEntries(Images.tcpStream, entry.ino);
  const file = `tcp-stream-${entry.ino.toString(16)}.img`;
  if (!found) throw new ImageError({ file, code: 'IMAGE_MISSING', reason: 'the image of a connection is missing' });
  const { family, state } = entry;
  const inq = found.payload?.inq ?? new Uint8Array();
  const ends = { source: fieldsOf(entry, 'source'), destination: fieldsOf(entry, 'destination') };
  return withTimestamps(
    wantedOf({ family, state, ...ends, entry: found.message, inq, receiveBuffer: entry.opts.so_rcvbuf }),
    context,
  );
}

/** How much earlier a timestamp may be: its last bit tells of its unit. */
const SLACK = 1;

/**
 * A connection without timestamps, if those that this machine would send were older than those that the other end has
 * seen, which makes it drop everything (RFC 7323, 5.3). What the kernel adds to its clock is fixed until the next boot
 * and depends on both addresses (`secure_tcp_ts_off()`); only a socket with a descriptor can be given another value.
 */
function withTimestamps(wanted: WantedConnection, context: RestoreContext): WantedConnection {
  const { own, remote, entry } = wanted;
  if (!(entry.opt_mask & TCPI_OPT.TIMESTAMPS) || entry.timestamp == null) return wanted;
  const now = timestampBetween(own, remote);
  if (now === undefined || ((now - entry.timestamp) | 0) >= -SLACK) return wanted;
  context.notice({
    resource: `the connection between ${showPacketEnd(own)} and ${showPacketEnd(remote)}, not accepted yet`,
    reason: 'it goes on without timestamps, since those of this machine are behind; some systems take that ill',
    remedy: 'dump when the server has accepted the connection',
  });
  return { ...wanted, entry: { ...entry, opt_mask: entry.opt_mask & ~TCPI_OPT.TIMESTAMPS } };
}
