/**
 * Unix sockets without a name: pairs (socketpair(2)) with what waits in them, ends whose other end is closed, sockets
 * that were never connected.
 */
import type { ErrorCode } from '../../../base/error-codes.ts';
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext, FileKind, OpenFile, SeenTree, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { AF, SCM, SOCK } from '../../../kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { peerCredentials } from '../../../kernel/sockets.ts';
import { captureForgotten, captureOptions, optionsObstacle } from '../../../network/socket-options.ts';
import { fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { armAsync, captureOwner, imageFlags } from '../../../support/fown.ts';
import { canTravel } from './carried-files.ts';
import { makePairs } from './makers.ts';
import { KIND, type SocketNote } from './notes.ts';
import { hasError, hasOutOfBand } from './probes.ts';
import { Sockets } from './rebuild.ts';
import { standingOf } from './support.ts';
import { isUnixSocket, type Message, Survey } from './survey.ts';

export const unixSocketKind: FileKind = {
  name: 'unix socket',
  type: FdTypes.UNIXSK,

  tree: {
    /** What no task has open, but waits in queues, belongs to the tree all the same. */
    survey(tree) {
      if (!tree.tasks.some(({ fds }) => fds.some(isUnixSocket))) return [];
      return Survey.of(tree).underWay.flatMap((file) => obstacleOf(file, tree) ?? []);
    },
    end: ({ tree }) => Survey.ifMade(tree)?.close(),
  },

  recognises: isUnixSocket,

  obstacle(file, task) {
    return obstacleOf(file, task.tree);
  },

  capture(file, id, context) {
    const survey = Survey.of(context.tree);
    const ids = IDS.of(context);
    const facts = survey.socket(file.stat.ino) as UnixSocket; // or there would have been an obstacle
    // Of a pair, the end that comes first tells who made it.
    const isFirst = !ids.has(facts.peer ?? 0);
    ids.set(facts.ino, id);
    const options = captureOptions(file.local, AF.UNIX);
    const messages = storedAs(facts.type, survey.queue(facts.ino), options.so_sndbuf);
    storeQueue(messages, id, ids, context);
    const note = noteFor(file, facts, messages, isFirst);
    if (Object.keys(note).length > 0) noteFile(context, KIND, id, note);
    return {
      usk: {
        id,
        ino: facts.ino,
        type: facts.type,
        state: facts.state,
        flags: imageFlags(file.flags),
        uflags: 0,
        backlog: facts.sendQueue,
        peer: facts.peer ?? 0,
        fown: captureOwner(file.local, file.flags),
        opts: options,
        name: new Uint8Array(),
        ns_id: NAMESPACE_IDS.net_ns_id,
        ...(facts.shutdown === 0 ? {} : { shutdown: facts.shutdown }),
      },
    };
  },

  rebuild: (entry, context) => Sockets.of(context).take(partOf(entry, 'usk')),

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'usk').flags, task);
  },
};

/** Makes pairs in the tasks that had made them, for the kernel remembers who did. */
export const unixSocketMakers: TaskKind = {
  name: 'unix socket makers',
  // Whatever is wrong with them is told before there is any process.
  tree: { prepare: (context) => void Sockets.of(context) },
  rebuild: { files: (task) => makePairs(task, Sockets.of(task.context)) },
};

function obstacleOf(file: OpenFile, tree: SeenTree): StasisError | undefined {
  const survey = Survey.of(tree);
  const facts = survey.socket(file.stat.ino);
  const standing = standingOf(
    facts,
    (ino) => survey.socket(ino),
    (ino) => survey.mayHave(ino),
  );
  if (typeof standing === 'object') {
    return refusal(file, standing.code, standing.reason, standing.remedy);
  }
  // A stream whose peer is closed may have just one: ECONNRESET.
  if (facts && (standing !== 'orphaned' || facts.type === SOCK.DGRAM) && hasError(file.local))
    return refusal(
      file,
      'SOCKET_ERROR_PENDING',
      'an error waits to be reported',
      'have the program take it (SO_ERROR) before the dump',
    );
  if (facts && hasOutOfBand(file.local, facts.type))
    return refusal(file, 'SOCKET_OUT_OF_BAND', 'an out-of-band byte waits', RECEIVE);
  if (standing === 'single' && survey.queue(file.stat.ino).length > 0) {
    return refusal(file, 'SOCKET_QUEUE', 'messages wait in a socket that is connected with none', RECEIVE);
  }
  return optionsObstacle(file) ?? carriedFilesObstacle(file, survey.queue(file.stat.ino), tree);
}

function carriedFilesObstacle(file: OpenFile, messages: readonly Message[], tree: SeenTree): StasisError | undefined {
  const found = messages.flatMap(({ files }) => files).find((carried) => !canTravel(carried, tree.tasks));
  if (!found) return undefined;
  const reason = `a message that waits carries ${found.link}, which no task of the tree has open`;
  return refusal(file, 'SOCKET_QUEUE', reason, RECEIVE);
}

const RECEIVE = 'have the message received before the dump';

function refusal(file: OpenFile, code: ErrorCode, reason: string, remedy: string): StasisError {
  if (file.fd >= 0) return fileObstacle(file, code, reason, remedy);
  const resource = `${file.link}, in a message that waits`;
  return new StasisError({ kind: 'unsupported', code, task: file.task, resource, reason, remedy });
}

/** What CRIU leaves of a buffer's size for the kernel's bookkeeping. */
const OVERHEAD = 32;

/**
 * Of a stream, CRIU stores as much at a time as the socket's own buffer takes for sending; messages are stored as they
 * are.
 */
function storedAs(type: number, messages: readonly Message[], sendBuffer: number): Message[] {
  const most = Math.max(sendBuffer - OVERHEAD, 1);
  return messages.flatMap((message) => {
    const { bytes, files } = message;
    if (type !== SOCK.STREAM || files.length > 0 || bytes.length <= most) return [message];
    const count = Math.ceil(bytes.length / most);
    return Array.from({ length: count }, (_, i) => ({ ...message, bytes: bytes.subarray(i * most, (i + 1) * most) }));
  });
}

/** Ids of sockets by inode, those included that are being captured: one may wait in its own queue. */
const IDS = new Slot((_: DumpContext) => new Map<number, number>());

function storeQueue(
  messages: readonly Message[],
  id: number,
  ids: ReadonlyMap<number, number>,
  context: DumpContext,
): void {
  for (const { bytes, files } of messages) {
    const known = (file: OpenFile): number | undefined => (isUnixSocket(file) ? ids.get(file.stat.ino) : undefined);
    const rights = files.map((file) => known(file) ?? context.openFiles.idOf(file));
    const scm = rights.length > 0 ? [{ type: SCM.RIGHTS, rights }] : [];
    context.append(Images.skQueues, { id_for: id, length: bytes.length, scm }, bytes);
  }
}

function noteFor(file: OpenFile, facts: UnixSocket, messages: readonly Message[], tellsMaker: boolean): SocketNote {
  const { pid, uid, gid } = peerCredentials(file.local);
  const senders = messages.flatMap(({ sender }, place) =>
    sender && sender.pid > 0 ? [[place, sender.pid, sender.uid, sender.gid] as const] : [],
  );
  const options = captureForgotten(file.local);
  return {
    ...(tellsMaker && pid > 0 ? { maker: [pid, uid, gid] } : {}),
    ...(facts.peer === 0 && hasError(file.local) ? { reset: true } : {}),
    ...(senders.length > 0 ? { senders } : {}),
    ...(options ? { options } : {}),
  };
}
