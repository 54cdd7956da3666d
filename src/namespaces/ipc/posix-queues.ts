/**
 * POSIX message queues of an IPC namespace (mq_overview(7)). CRIU refuses them, so they have a file of our own. They
 * are files of a file system of the namespace, which is mounted nowhere for that.
 */
import { StasisError } from '../../base/errors.ts';
import { cstring, encodeText } from '../../base/text.ts';
import type { DumpContext, IdView, RestoreContext, SeenNamespace } from '../../contract/contract.ts';
import { base64, type FormType, list, object, readJson, text, whole } from '../../images/form.ts';
import type { IpcVarEntry } from '../../images/schema/namespaces.ts';
import { actAs } from '../../kernel/act-as.ts';
import { O } from '../../kernel/constants/files.ts';
import { FSCONFIG, FSOPEN_CLOEXEC } from '../../kernel/constants/mounts.ts';
import { RLIM_INFINITY, RLIMIT } from '../../kernel/constants/tasks.ts';
import { namesIn, openFile } from '../../kernel/files.ts';
import { MqAttr } from '../../kernel/layouts/ipc.ts';
import { Rlimit64 } from '../../kernel/layouts/tasks.ts';
import { type PosixMessage, queuedMessages } from '../../kernel/message-queue.ts';
import { mountFileSystem } from '../../kernel/mounts.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';

const queueForm = object({
  name: text,
  mode: whole,
  uid: whole,
  gid: whole,
  maxMessages: whole,
  maxSize: whole,
  messages: list(object({ priority: whole, data: base64 })),
});
const form = list(queueForm);

/** A queue as our file has it. */
export type PosixQueue = FormType<typeof queueForm>;

const fileName = (namespaceId: number): string => `stasis-ipcns-${namespaceId}.json`;
const resourceOf = (name: string): string => `POSIX message queue /${name}`;

/** Does `work` for each queue of the current namespace, with a descriptor of it. */
export function forEachQueue<T>(
  work: (name: string, fd: Fd, count: number, attributes: ReturnType<typeof MqAttr.decode>) => T,
): T[] {
  const opened = trySyscall('fsopen', arenaPath('mqueue'), FSOPEN_CLOEXEC);
  if (opened < 0) return []; // the kernel has no such queues
  using context = new Fd(opened);
  syscall('fsconfig', context.number, FSCONFIG.CMD_CREATE);
  using mount = mountFileSystem(context.number, 0);
  const root = `/proc/self/fd/${mount.number}`;
  return namesIn(root).map((name) => {
    using fd = openFile(`${root}/${name}`, O.RDONLY | O.NONBLOCK);
    const bytes = new Uint8Array(MqAttr.size);
    syscall('mq_getsetattr', fd.number, 0, bytes);
    const attributes = MqAttr.decode(bytes);
    return work(name, fd, Number(attributes.curmsgs), attributes);
  });
}

/** Queues whose messages the kernel does not tell. Called inside the namespace. */
export function posixQueueObstacles({ ino }: SeenNamespace): StasisError[] {
  return forEachQueue((name, fd, count) => {
    if (count === 0 || queuedMessages(fd.number, count)) return [];
    const resource = `${resourceOf(name)} of IPC namespace ${ino}`;
    const reason = `there are ${count} messages in it, which the kernel does not let Stasis read`;
    const remedy = 'have a program receive them first; a kernel with eBPF and BTF tells them';
    return [new StasisError({ kind: 'unsupported', code: 'FILE_MESSAGE_QUEUE', resource, reason, remedy })];
  }).flat();
}

/** Saves the queues. Called inside the namespace. */
export function savePosixQueues(namespaceId: number, ids: IdView, { images }: DumpContext): void {
  const queues = forEachQueue((name, fd, count, attributes): PosixQueue => {
    const messages = count === 0 ? [] : queuedMessages(fd.number, count);
    if (!messages)
      throw new StasisError({ kind: 'kernel', resource: resourceOf(name), reason: 'its messages cannot be read' });
    const { mode, uid, gid } = statusOf(fd.number);
    return {
      name,
      mode: mode & 0o7777,
      uid: ids.uidThere(uid),
      gid: ids.gidThere(gid),
      maxMessages: Number(attributes.maxmsg),
      maxSize: Number(attributes.msgsize),
      messages: messages.map(({ priority, data }) => ({ priority, data: Buffer.from(data).toString('base64') })),
    };
  });
  if (queues.length > 0) images.put(fileName(namespaceId), encodeText(`${JSON.stringify(queues)}\n`));
}

/** The saved queues of a namespace. @throws ImageError */
export function savedPosixQueues(namespaceId: number, { images }: RestoreContext): PosixQueue[] {
  const name = fileName(namespaceId);
  const bytes = images.own(name);
  return bytes ? readJson(form, bytes, name) : [];
}

/** The saved settings, raised to what the queues need when they are made: limits may have been lowered since. */
export function withRoomForPosix(queues: readonly PosixQueue[], variables: IpcVarEntry): IpcVarEntry {
  const most = (numbers: readonly number[], least: number): number => numbers.reduce((a, b) => Math.max(a, b), least);
  return {
    ...variables,
    mq_queues_max: Math.max(variables.mq_queues_max, queues.length),
    mq_msg_max: most(
      queues.map(({ maxMessages }) => maxMessages),
      variables.mq_msg_max,
    ),
    mq_msgsize_max: most(
      queues.map(({ maxSize }) => maxSize),
      variables.mq_msgsize_max,
    ),
  };
}

/** Makes the queues again. Called inside the namespace, when its limits are wide enough. @throws SyscallError */
export function makePosixQueues(queues: readonly PosixQueue[], ids: IdView): void {
  if (queues.length === 0) return;
  using _ = new WideLimit();
  for (const queue of queues) {
    const { name, mode, messages } = queue;
    const attributes = MqAttr.encode({ maxmsg: BigInt(queue.maxMessages), msgsize: BigInt(queue.maxSize) });
    const flags = O.RDWR | O.CREAT | O.EXCL | O.NONBLOCK | O.CLOEXEC;
    // Its bytes count for the user who makes it.
    const made = actAs(ids.uidHere(queue.uid), ids.gidHere(queue.gid), () =>
      trySyscall('mq_open', cstring(name), flags, mode, attributes),
    );
    if (made < 0) throw new SyscallError('mq_open', -made, { resource: resourceOf(name) });
    using fd = new Fd(made);
    syscall('fchmod', fd.number, mode); // mq_open(2) applies the umask
    for (const { priority, data } of messages)
      send(fd, { priority, data: new Uint8Array(Buffer.from(data, 'base64')) }, name);
  }
}

function send(fd: Fd, { priority, data }: PosixMessage, name: string): void {
  // An empty message needs an address as well.
  const bytes = data.length > 0 ? data : new Uint8Array(1);
  const sent = trySyscall('mq_timedsend', fd.number, bytes, data.length, priority, 0);
  if (sent < 0) throw new SyscallError('mq_timedsend', -sent, { resource: resourceOf(name) });
}

/** Raises our own RLIMIT_MSGQUEUE, which no capability exceeds, as far as possible until the scope ends. */
class WideLimit implements Disposable {
  readonly #before = new Uint8Array(Rlimit64.size);

  constructor() {
    syscall('prlimit64', 0, RLIMIT.MSGQUEUE, 0, this.#before);
    const { max } = Rlimit64.decode(this.#before);
    const endless = Rlimit64.encode({ cur: RLIM_INFINITY, max: RLIM_INFINITY });
    if (trySyscall('prlimit64', 0, RLIMIT.MSGQUEUE, endless, 0) === 0) return;
    trySyscall('prlimit64', 0, RLIMIT.MSGQUEUE, Rlimit64.encode({ cur: max, max }), 0);
  }

  [Symbol.dispose](): void {
    trySyscall('prlimit64', 0, RLIMIT.MSGQUEUE, this.#before, 0);
  }
}
