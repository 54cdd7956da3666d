/**
 * Unix sockets: pairs and connections with what waits in them, listening sockets with the connections that wait to be
 * accepted, datagram sockets; with names or without.
 */
import type { ErrorCode } from '../../../base/error-codes.ts';
import { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import type { FileDoors, OpenFile, SeenTree, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';
import { optionsObstacle } from '../../../network/socket-options.ts';
import { describeFile, fileObstacle, partOf } from '../../../support/fdinfo.ts';
import { armAsync } from '../../../support/fown.ts';
import { captureSocket } from './capture.ts';
import { canTravel } from './carried-files.ts';
import { nameObstacle } from './names.ts';
import { outsideNameRefusal } from './outside.ts';
import { hasError, hasOutOfBand } from './probes.ts';
import { Sockets } from './rebuild.ts';
import { type Refusal, type Standing, standingOf } from './support.ts';
import { isUnixSocket, type Message, Survey } from './survey.ts';
import { endWaiting, saveWaiting } from './waiting.ts';

/**
 * The inodes of sockets of a tree that have been examined and can be carried, and of those that no notice is about.
 * Each of hundreds of processes may have hundreds of sockets in common with the others.
 */
const SOUND = new Slot((_: SeenTree) => new Set<number>());
const QUIET = new Slot((_: SeenTree) => new Set<number>());

export const unixSocketKind: FileDoors = {
  tree: {
    /** What no task has open, but waits in queues, belongs to the tree all the same. */
    survey(tree) {
      if (!tree.tasks.some(({ fds }) => fds.some(isUnixSocket))) return [];
      return Survey.of(tree).underWay.flatMap((file) => obstacleOf(file, tree) ?? []);
    },
    end(context, how) {
      if (how === 'dead') saveWaiting(context);
      endWaiting(context);
      Survey.ifMade(context.tree)?.close();
    },
  },

  obstacle(file, { tree }) {
    const sound = SOUND.of(tree);
    if (sound.has(file.stat.ino)) return undefined;
    const found = obstacleOf(file, tree);
    if (!found) sound.add(file.stat.ino);
    return found;
  },

  notice(file, { tree }) {
    const quiet = QUIET.of(tree);
    if (quiet.has(file.stat.ino)) return undefined;
    const found = noticeOf(file, tree);
    if (!found) quiet.add(file.stat.ino);
    return found;
  },

  capture(file, id, context) {
    const survey = Survey.of(context.tree);
    // Or there would have been an obstacle.
    const facts = survey.socket(file.stat.ino) as UnixSocket;
    const standing = standingIn(file, context.tree) as Standing;
    return { usk: captureSocket({ file, facts, standing }, id, survey, context) };
  },

  rebuild: (entry, context) => Sockets.of(context).take(partOf(entry, 'usk')),

  finish(entry, fd, task) {
    armAsync(fd, partOf(entry, 'usk').flags, task);
  },
};

/** Makes sockets with the help of the tasks that had made them, for the kernel remembers who did. */
export const unixSocketMakers: TaskKind = {
  name: 'unix socket makers',
  tree: {
    // Whatever is wrong with them is told before there is any process.
    prepare: (context) => Sockets.of(context).prepare(),
    rebuilt: { mapped: (context) => Sockets.of(context).make() },
    restoreEnd: (context, how) => Sockets.ifMade(context)?.end(how),
  },
  rebuild: { birth: (task) => Sockets.of(task.context).addTask(task) },
};

function standingIn(file: OpenFile, tree: SeenTree): Standing | Refusal {
  const survey = Survey.of(tree);
  return standingOf(survey.socket(file.stat.ino), {
    find: (ino) => survey.socket(ino),
    isOurs: (ino) => survey.mayHave(ino),
    listenerOf: (ino) => survey.waitingIn(ino)?.listener,
    options: tree.options,
  });
}

function obstacleOf(file: OpenFile, tree: SeenTree): StasisError | undefined {
  const survey = Survey.of(tree);
  const facts = survey.socket(file.stat.ino);
  const standing = standingIn(file, tree);
  const refused = typeof standing === 'object' ? standing : facts && refusalOfPeer(facts, standing, survey);
  if (refused) return refusal(file, refused.code, refused.reason, refused.remedy);
  const error = facts && errorObstacle(file, facts, standing === 'orphaned');
  if (error) return error;
  if (facts && hasOutOfBand(file.local, facts.type))
    return refusal(file, 'SOCKET_OUT_OF_BAND', 'an out-of-band byte waits', RECEIVE);
  return (
    (facts?.name && nameObstacle(file, facts.name, tree)) ??
    optionsObstacle(file) ??
    carriedFilesObstacle(file, survey.queue(file.stat.ino), tree)
  );
}

/** Why a socket cannot be connected with its outside peer again. */
function refusalOfPeer(facts: UnixSocket, standing: Standing | Refusal, survey: Survey): Refusal | undefined {
  if (standing !== 'reconnect') return undefined;
  const peer = survey.socket(facts.peer ?? 0) ?? survey.waitingIn(facts.ino)?.listener;
  if (facts.type !== SOCK.DGRAM && facts.receiveQueue > 0) {
    return {
      code: 'SOCKET_QUEUE',
      reason: `${facts.receiveQueue} bytes wait that its peer has sent, and a new connection would not have them`,
      remedy: RECEIVE,
    };
  }
  return peer && outsideNameRefusal(peer);
}

/** What will be different after the restore of a socket whose peer is outside of the tree. */
function noticeOf(file: OpenFile, tree: SeenTree): NoticeFacts | undefined {
  const survey = Survey.of(tree);
  const facts = survey.socket(file.stat.ino);
  const standing = standingIn(file, tree);
  const about = { task: file.task, resource: describeFile(file) };
  if (facts?.state === TCP_STATE.LISTEN && facts.pending.some((ino) => ino !== 0 && !survey.mayHave(ino))) {
    return { ...about, reason: 'connections from outside of the tree wait to be accepted; they are not carried' };
  }
  const name = survey.socket(facts?.peer ?? 0)?.name;
  const peer = `its peer${name ? `, ${showUnixName(name)},` : ''} is outside of the tree`;
  if (standing === 'reset') return { ...about, reason: `${peer}; restored it finds that closed` };
  if (standing === 'reconnect' && facts?.type !== SOCK.DGRAM)
    return { ...about, reason: `${peer}; restored it has a new connection with whoever has that name then` };
  return undefined;
}

/**
 * An error that waits. A connection whose peer is closed may have just one, ECONNRESET; then messages cannot be looked
 * at, since the look would take the error, but what waits in a stream can.
 */
function errorObstacle(file: OpenFile, facts: UnixSocket, isOrphaned: boolean): StasisError | undefined {
  const unseen = facts.type !== SOCK.STREAM && facts.receiveQueue > 0;
  if ((isOrphaned && facts.type !== SOCK.DGRAM && !unseen) || !hasError(file.local)) return undefined;
  const reason = `an error waits to be reported${unseen ? ', and messages behind it' : ''}`;
  return refusal(file, 'SOCKET_ERROR_PENDING', reason, 'have the program take it (SO_ERROR) before the dump');
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
