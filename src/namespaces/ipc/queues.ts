/** System V message queues of an IPC namespace, with the messages in them. */
import { StasisError } from '../../base/errors.ts';
import type { IdView, SeenNamespace } from '../../contract/contract.ts';
import type { Entry } from '../../images/image.ts';
import type { InputOf } from '../../images/message.ts';
import type { QueuedMessage } from '../../images/payload.ts';
import type { IpcMsgEntry, IpcVarEntry, ipcMsgEntry } from '../../images/schema/namespaces.ts';
import { IPC, MSG_COPY } from '../../kernel/constants/ipc.ts';
import { Msqid64 } from '../../kernel/layouts/ipc.ts';
import { readSystem } from '../../kernel/proc/read.ts';
import { parseSysvMsg, type SysvQueue } from '../../kernel/proc/sysvipc.ts';
import { ERRNO, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { descriptionOf, makeObject, objectName, setOwner } from './objects.ts';

type SavedQueue = Entry<InputOf<typeof ipcMsgEntry>, QueuedMessage[]>;

/** The queues of the IPC namespace that Stasis is in. */
function queuesHere(): SysvQueue[] {
  return parseSysvMsg(readSystem('/proc/sysvipc/msg'));
}

/** Queues with messages that cannot be read. Called inside the namespace. */
export function queueObstacles({ ino }: SeenNamespace, longest: number): StasisError[] {
  return queuesHere().flatMap((queue) => {
    if (queue.bytes <= longest) return [];
    const failed = tryMessages(queue);
    if (typeof failed !== 'number') return [];
    const resource = `${objectName('msg', queue)} of IPC namespace ${ino}`;
    if (failed === ERRNO.EINVAL) {
      // A message is only copied up to msgmax (prepare_copy() in ipc/msg.c).
      const reason = `it has a message that is longer than kernel.msgmax, which is ${longest} now`;
      const remedy = `raise it inside for the dump: sysctl kernel.msgmax=${queue.bytes}`;
      return [new StasisError({ kind: 'unsupported', code: 'SYSV_QUEUE_UNREADABLE', resource, reason, remedy })];
    }
    return [new SyscallError('msgrcv', failed, { resource })];
  });
}

/** The queues as images have them. Called inside the namespace. */
export function saveQueues(ids: IdView): SavedQueue[] {
  return queuesHere().map((queue) => {
    const messages = tryMessages(queue);
    if (typeof messages === 'number')
      throw new SyscallError('msgrcv', messages, { resource: objectName('msg', queue) });
    const bytes = new Uint8Array(Msqid64.size);
    syscall('msgctl', queue.id, IPC.STAT, bytes);
    const qbytes = Number(Msqid64.decode(bytes).qbytes);
    return { message: { desc: descriptionOf(queue, ids), qbytes, qnum: messages.length }, payload: messages };
  });
}

/** Copies of all messages of a queue, or the errno. */
function tryMessages({ id, bytes, count }: SysvQueue): QueuedMessage[] | number {
  const buffer = new Uint8Array(8 + bytes);
  const view = new DataView(buffer.buffer);
  const messages: QueuedMessage[] = [];
  for (let at = 0; at < count; at++) {
    const length = trySyscall('msgrcv', id, buffer, bytes, at, IPC.NOWAIT | MSG_COPY);
    if (length === -ERRNO.EAGAIN || length === -ERRNO.ENOMSG) break; // somebody outside of the tree has taken one
    if (length < 0) return -length;
    const message = { mtype: view.getBigUint64(0, true), msize: length };
    messages.push({ message, data: buffer.slice(8, 8 + length) });
  }
  return messages;
}

type QueueEntry = Entry<IpcMsgEntry, QueuedMessage[]>;

/** The saved settings, raised to what the queues need while they are filled. */
export function withRoomFor(queues: readonly QueueEntry[], variables: IpcVarEntry): IpcVarEntry {
  const lengths = queues.flatMap(({ payload = [] }) => payload.map(({ data }) => data.length));
  const most = (numbers: readonly number[], least: number): number => numbers.reduce((a, b) => Math.max(a, b), least);
  return {
    ...variables,
    msg_ctlmax: most(lengths, variables.msg_ctlmax),
    msg_ctlmnb: most(queues.map(roomFor), variables.msg_ctlmnb),
  };
}

/** What `qbytes` of a queue has to be while it is filled: it may have been lowered since. */
function roomFor({ message, payload = [] }: QueueEntry): number {
  const bytes = payload.reduce((sum, { data }) => sum + data.length, 0);
  return Math.max(message.qbytes, payload.length, bytes);
}

/** Makes a queue again. Called inside the namespace. @throws StasisError */
export function makeQueue(queue: QueueEntry, ids: IdView): void {
  const { message: head, payload = [] } = queue;
  const { desc, qbytes } = head;
  makeObject('msg', desc, ids, (flags) => trySyscall('msgget', desc.key | 0, flags));
  const size = (bytes: number): Uint8Array => Msqid64.encode({ qbytes: BigInt(bytes) });
  const needed = roomFor(queue);
  setOwner('msg', desc, ids, size(needed));
  for (const { message, data } of payload) {
    const bytes = new Uint8Array(8 + data.length);
    new DataView(bytes.buffer).setBigUint64(0, message.mtype, true);
    bytes.set(data, 8);
    const sent = trySyscall('msgsnd', desc.id, bytes, data.length, IPC.NOWAIT);
    if (sent < 0) throw new SyscallError('msgsnd', -sent, { resource: objectName('msg', desc) });
  }
  if (needed !== qbytes) setOwner('msg', desc, ids, size(qbytes));
}
