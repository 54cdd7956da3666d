/** Puts the messages that waited back into the queues of sockets. */
import { fromBase64 } from '../../../base/base64.ts';
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logWarn } from '../../../base/log.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import type { SkPacketEntry } from '../../../images/schema/sockets.ts';
import { MSG, SCM } from '../../../kernel/constants/sockets.ts';
import { encodeControl, type Ucred } from '../../../kernel/layouts/sockets.ts';
import { trySendMessage } from '../../../kernel/sockets.ts';
import { ERRNO, SyscallError } from '../../../kernel/syscall.ts';
import { widen } from '../../../network/socket-options.ts';
import { imageError, type SavedSocket } from './graph.ts';

/** A message of sk-queues.img. */
export interface Queued {
  readonly message: SkPacketEntry;
  readonly bytes: Uint8Array;
}

/** The messages of all queues, by the ID of the socket they wait in. */
export function readQueues(context: RestoreContext): Map<number, Queued[]> {
  const queues = new Map<number, Queued[]>();
  for (const { message, payload } of context.images.readEntries(Images.skQueues)) {
    const queue = queues.get(message.id_for) ?? [];
    queue.push({ message, bytes: payload ?? new Uint8Array() });
    queues.set(message.id_for, queue);
  }
  return queues;
}

/** From where a message is sent: a socket, and where to if that is not connected with the receiver. */
export interface Origin {
  readonly from: LocalFd;
  readonly to?: Uint8Array | undefined;
}

/**
 * Sends all messages of a queue. `originOf` tells from where, by the name of the socket a message came from; `fileOf`
 * gives a descriptor of ours for a file in a message.
 */
export function fill(
  socket: SavedSocket,
  queue: readonly Queued[],
  originOf: (source: Uint8Array | undefined) => Origin,
  fileOf: (id: number) => LocalFd,
  { hostPid, ids }: Pick<RestoreContext, 'hostPid' | 'ids'>,
): void {
  const { entry, note } = socket;
  const senders = new Map(note.senders?.map(([place, ...who]) => [place, who]));
  const sources = new Map(note.sources);
  const widened = new Set<LocalFd>();
  queue.forEach(({ message, bytes }, place) => {
    const rights = message.scm.flatMap(({ type, rights }) => {
      if (type !== SCM.RIGHTS) throw imageError(entry, `a message has control data of type ${type}`);
      return rights.map(fileOf);
    });
    const [pid = 0, uid = 0, gid = 0] = senders.get(place) ?? [];
    const source = sources.get(place);
    const origin = originOf(source === undefined ? undefined : fromBase64(source));
    if (!widened.has(origin.from)) widen(origin.from);
    widened.add(origin.from);
    // A sender that is not there keeps its number, under which the kernel finds nobody.
    sendMessage(
      origin,
      bytes,
      rights,
      pid > 0 ? { pid: hostPid(pid) ?? pid, uid: ids.uidHere(uid), gid: ids.gidHere(gid) } : undefined,
    );
  });
}

/** What the kernel answers if a process has ended, if we may not speak for it, and for IDs that are not mapped here. */
const NOT_AS_SENDER: readonly number[] = [ERRNO.ESRCH, ERRNO.EPERM, ERRNO.EINVAL];

/**
 * Sends a message with its descriptors, and with the credentials of its sender if that is still possible.
 * @throws SyscallError, StasisError (conflict) if not everything could be sent at once
 */
function sendMessage(origin: Origin, bytes: Uint8Array, rights: readonly number[], sender: Ucred | undefined): void {
  if (sender) {
    const got = trySend(origin, bytes, encodeControl(rights, sender));
    if (got === bytes.length) return;
    if (!NOT_AS_SENDER.includes(-got)) throw sendError(origin, got);
    logWarn('unix', `process ${sender.pid} is not there: a message it had sent comes without its credentials`);
  }
  send(origin, bytes, encodeControl(rights));
}

/** @throws SyscallError, StasisError (conflict) if not everything could be sent at once */
export function send(origin: Origin, bytes: Uint8Array, control: Uint8Array): void {
  const got = trySend(origin, bytes, control);
  if (got !== bytes.length) throw sendError(origin, got);
}

function sendError({ to }: Origin, got: number): StasisError {
  if (got !== -ERRNO.EAGAIN || !to) return new SyscallError('sendmsg', got < 0 ? -got : ERRNO.EAGAIN);
  return new StasisError({
    kind: 'conflict',
    code: 'SOCKET_QUEUE',
    resource: 'net.unix.max_dgram_qlen',
    reason: 'more datagrams waited in a unix socket than this machine lets wait',
    remedy: 'raise it (sysctl -w net.unix.max_dgram_qlen=512)',
  });
}

function trySend({ from, to }: Origin, bytes: Uint8Array, control: Uint8Array): number {
  return trySendMessage(from, bytes, control, MSG.DONTWAIT | MSG.NOSIGNAL, to);
}
