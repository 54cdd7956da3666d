/**
 * Descriptors of POSIX message queues (mq_overview(7)), which CRIU refuses. In images they are regular files, with a
 * note that names the queue and its IPC namespace. Queues of the host are the machine's, and have to be there again.
 */
import type { LocalFd } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import { cstring, decodeText } from '../../../base/text.ts';
import type {
  DumpContext,
  FileDraft,
  OpenFile,
  RestoreContext,
  SeenTask,
  SeenTree,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { OUR_NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import type { RegFileEntry } from '../../../images/schema/files.ts';
import { O } from '../../../kernel/constants/files.ts';
import { tryRead } from '../../../kernel/files.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { Fd, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
import { forEachQueue } from '../../../namespaces/ipc/posix-queues.ts';
import { insideIpc } from '../../../namespaces/ipc/seen-segments.ts';
import { insideMade } from '../../../namespaces/made.ts';
import { SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { QUEUE_NOTE, type QueueNote } from './queue-note.ts';

interface Queue extends QueueNote {
  /** The process that is to be told of the next message (mq_notify); 0 if there is none. */
  readonly notified: number;
}

/** All queues that have a name in the IPC namespaces of a tree and in ours, by device and inode number. */
const QUEUES = new Slot((tree: SeenTree): ReadonlyMap<string, Queue> => {
  const found = new Map<string, Queue>();
  const collect = (namespace: number): void => {
    forEachQueue((name, fd) => {
      const { dev, ino } = statusOf(fd.number);
      found.set(`${dev} ${ino}`, { namespace, name, notified: notifiedOf(fd) });
    });
  };
  collect(OUR_NAMESPACE_IDS.ipc);
  for (const namespace of SEEN_NAMESPACES.of(tree).others) {
    if (namespace.name === 'ipc') insideIpc(namespace, () => collect(namespace.id));
  }
  return found;
});

/** What a read of a queue's file shows, apart from messages. */
function notifiedOf({ number }: Fd): number {
  const bytes = new Uint8Array(256);
  const length = Math.max(0, tryRead(number, bytes));
  return Number(/NOTIFY_PID:(\d+)/.exec(decodeText(bytes.subarray(0, length)))?.[1] ?? 0);
}

/** The queue behind a file; undefined for all other files, and for a queue that was removed. */
function queueOf({ stat }: OpenFile, tree: SeenTree): Queue | undefined {
  return QUEUES.of(tree).get(`${stat.dev} ${stat.ino}`);
}

/** Whether a file is a queue that is carried. */
export function isQueue(file: OpenFile, tree: SeenTree): boolean {
  return queueOf(file, tree) !== undefined;
}

/** Why the descriptor of a queue cannot be carried; undefined if it can. */
export function queueObstacle(file: OpenFile, { pid, tree }: SeenTask): StasisError | undefined {
  if (queueOf(file, tree)?.notified !== pid) return undefined;
  const reason = 'the process waits for a notification of it (mq_notify), of which the kernel does not tell everything';
  return fileObstacle(file, 'FILE_MESSAGE_QUEUE', reason, 'have the program take the registration back for the dump');
}

/** The entry of a queue, without its note if it has none. */
export function captureQueue(file: OpenFile, id: number, context: DumpContext): FileDraft {
  const { namespace = 0, name = '' } = queueOf(file, context.tree) ?? {};
  noteFile(context, QUEUE_NOTE, id, { namespace, name });
  const flags = imageFlags(file.flags);
  return { reg: { id, flags, pos: 0n, fown: captureOwner(file.local, flags, context), name: `/dev/mqueue/${name}` } };
}

/** Opens a queue again. @throws SyscallError if it is not there */
export function openQueue(
  { flags, fown }: RegFileEntry,
  { namespace, name }: QueueNote,
  context: RestoreContext,
): LocalFd {
  const opened = insideMade(context, 'ipc', namespace, () =>
    trySyscall('mq_open', cstring(name), (flags & (O.ACCMODE | O.NONBLOCK)) | O.CLOEXEC, 0, 0),
  );
  if (opened < 0) throw new SyscallError('mq_open', -opened, { resource: `POSIX message queue /${name}` });
  using fd = new Fd(opened);
  setFlagsAndOwner(fd.number, flags, fown, context);
  return fd.release();
}
