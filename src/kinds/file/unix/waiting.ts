/**
 * Connections that wait to be accepted, with what their clients have sent meanwhile. The kernel gives nobody a look at
 * that before the connection is accepted, and an accepted one cannot be put back. So they are accepted when the dump is
 * complete and the tasks are about to be killed, come what may, and what they hold goes into a file of its own. Room
 * for it is set aside before that.
 */
import { fromBase64, toBase64 } from '../../../base/base64.ts';
import type { LocalFd } from '../../../base/brands.ts';
import { asStasisError, StasisError } from '../../../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { base64, list, object, optional, readJsonLines, tuple, whole } from '../../../images/form.ts';
import { F, O, POLL } from '../../../kernel/constants/files.ts';
import { SIOCINQ, SOCK } from '../../../kernel/constants/sockets.ts';
import { tryUnnamed } from '../../../kernel/files.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { eventsOf } from '../../../kernel/poll.ts';
import { peerCredentials } from '../../../kernel/sockets.ts';
import { arenaAddress, arenaView, Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { describeFile } from '../../../support/fdinfo.ts';
import { peekQueues } from './queue.ts';

const NAME = 'stasis-unix-waiting.jsonl';

/** The direction that is shut down when the client is closed, or has shut down the other one. */
const RECEIVING = 1;
/** Room set aside for each connection, in bytes: more than the buffer of a socket holds by default, in Base64. */
const ROOM = 384 * 1024;

/** A listening socket whose connections are saved at the end. */
interface Listener {
  readonly file: OpenFile;
  readonly facts: UnixSocket;
  readonly id: number;
}

class Waiting {
  readonly listeners: Listener[] = [];
  room: Fd | undefined;
}

const WAITING = new Slot((_: DumpContext) => new Waiting());

/** Has the connections of a listening socket saved when the dump is complete. */
export function saveLater(listener: Listener, context: DumpContext): void {
  const waiting = WAITING.of(context);
  waiting.listeners.push(listener);
  setRoomAside(waiting, context.images.dir);
}

/** Sets room aside on the disk of the images, in a file without a name. @throws SyscallError if there is none */
function setRoomAside(waiting: Waiting, dir: string): void {
  const count = waiting.listeners.reduce((sum, { facts }) => sum + facts.pending.length, 0);
  if (!waiting.room) {
    const fd = tryUnnamed(dir, O.WRONLY);
    if (fd < 0) return; // not every file system has them
    waiting.room = new Fd(fd);
  }
  syscall('fallocate', waiting.room.number, 0, 0, count * ROOM);
}

/** Gives back what {@link saveLater} took. */
export function endWaiting(context: DumpContext): void {
  WAITING.ifMade(context)?.room?.[Symbol.dispose]();
}

/**
 * Accepts the connections that wait, and saves what they hold. Nobody but the tasks, which are about to be killed,
 * could have accepted them.
 */
export function saveWaiting(context: DumpContext): void {
  const waiting = WAITING.ifMade(context);
  if (!waiting) return;
  try {
    const lines = waiting.listeners.map((listener) => JSON.stringify(acceptAll(listener, context)));
    waiting.room?.[Symbol.dispose]();
    if (lines.length > 0) context.images.append(NAME, new TextEncoder().encode(`${lines.join('\n')}\n`));
  } catch (error) {
    const reason = `what was sent on connections that nobody had accepted is lost: ${asStasisError(error).message}`;
    context.notice({ resource: NAME, reason, remedy: LET_GO });
  }
}

const LET_GO = 'restore without these connections: --unix-peer reset';

/** Accepts all connections of a socket. */
function acceptAll({ file, facts, id }: Listener, context: DumpContext): WaitingLine {
  const flags = syscall('fcntl', file.local, F.GETFL);
  syscall('fcntl', file.local, F.SETFL, flags | O.NONBLOCK);
  const waiting = facts.pending.flatMap((_, place) => {
    const got = trySyscall('accept4', file.local, 0, 0, SOCK.CLOEXEC);
    if (got < 0) return []; // one from outside of the tree that has been given up meanwhile
    using accepted = new Fd(got);
    const { pid: host, uid, gid } = peerCredentials(accepted.number);
    const { pids, ids } = context.tree;
    const pid = pids.saved(host);
    const maker = [pid, ids.uidThere(uid), ids.gidThere(gid)] as const;
    const messages = read(accepted.number, file, facts, context).map((bytes) => toBase64(bytes));
    return [{ place, messages, ...(pid > 0 ? { maker } : {}) }];
  });
  return { id, waiting };
}

/** Everything that has been sent to a socket of ours. */
function read(local: LocalFd, listener: OpenFile, { type }: UnixSocket, context: DumpContext): Uint8Array[] {
  syscall('ioctl', local, SIOCINQ, arenaAddress);
  const receiveQueue = arenaView.getInt32(0, true);
  const shutdown = eventsOf(local, POLL.RDHUP) & POLL.RDHUP ? RECEIVING : 0;
  const socket = { file: { ...listener, local }, facts: { type, receiveQueue, shutdown } };
  const packets = peekQueues([socket]).get(socket) ?? [];
  for (const fd of packets.flatMap(({ rights }) => rights)) trySyscall('close', fd);
  if (packets.some(({ rights }) => rights.length > 0)) {
    const reason = 'a message in a connection that nobody had accepted carried open files, which are lost';
    context.notice({ task: listener.task, resource: describeFile(listener), reason });
  }
  return packets.map(({ bytes }) => bytes);
}

const line = object({
  /** The ID of the listening socket. */
  id: whole,
  waiting: list(object({ place: whole, messages: list(base64), maker: optional(tuple(whole, whole, whole)) })),
});

type WaitingLine = ReturnType<(typeof line)['read']>;

/** A connection that waits in a listening socket: its place, who had connected, and what the client has sent. */
export interface WaitingConnection {
  readonly place: number;
  readonly maker: readonly [number, number, number] | undefined;
  readonly messages: readonly Uint8Array[];
}

/**
 * The connections that wait in a listening socket whose note tells of some. @throws StasisError (image) if they are
 * missing
 */
export function readWaiting(context: RestoreContext, id: number): readonly WaitingConnection[] {
  const found = LINES.of(context).get(id);
  if (!found && context.options.unixPeer !== 'reset') {
    throw new StasisError({
      kind: 'image',
      resource: NAME,
      reason: `the connections that wait in file ${id} are missing`,
      remedy: LET_GO,
    });
  }
  return (found ?? []).map(({ place, maker, messages }) => ({
    place,
    maker,
    messages: messages.map((text) => fromBase64(text)),
  }));
}

const LINES = new Slot((context: RestoreContext) => {
  const bytes = context.images.own(NAME);
  const lines = bytes ? readJsonLines(line, bytes, NAME) : [];
  return new Map(lines.map(({ value }) => [value.id, value.waiting]));
});
