/** Saves unix sockets: entry, queue and note of each. */
import { toBase64 } from '../../../base/base64.ts';
import type { DumpContext, OpenFile, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import type { InputOf } from '../../../images/message.ts';
import { SkShutdown, type unixSkEntry } from '../../../images/schema/sockets.ts';
import { AF, SCM, SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { peerCredentials } from '../../../kernel/sockets.ts';
import { captureForgotten, captureOptions } from '../../../network/socket-options.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { captureOwner, imageFlags } from '../../../support/fown.ts';
import { captureName } from './names.ts';
import { KIND, type SocketNote } from './notes.ts';
import { saveOutsidePeer } from './outside.ts';
import { USK_SERVICE } from './own-socket.ts';
import { hasError } from './probes.ts';
import type { Standing } from './support.ts';
import { isUnixSocket, type Message, type Survey } from './survey.ts';
import { saveLater } from './waiting.ts';

/** Saves one socket, which the obstacle checks have found to stand like this. Returns its entry. */
export function captureSocket(
  { file, facts, standing }: { file: OpenFile; facts: UnixSocket; standing: Standing },
  id: number,
  survey: Survey,
  context: DumpContext,
): InputOf<typeof unixSkEntry> {
  const ids = IDS.of(context);
  ids.set(facts.ino, id);
  const options = captureOptions(file.local, AF.UNIX);
  const messages = storedAs(facts.type, survey.queue(facts.ino), options.so_sndbuf);
  storeQueue(messages, id, ids, context);
  const name = captureName(file.local, facts.name, () => survey.directoriesOf(facts.ino), context.tree);
  const isOutside = standing === 'reconnect' || standing === 'external';
  for (const peer of isOutside ? outsidePeer(facts, survey) : [])
    saveOutsidePeer(peer, survey.networkOf(peer.ino), context);
  const isWaitedFor = facts.state === TCP_STATE.LISTEN && !context.options.leaveRunning && survey.hasUnseen(facts);
  if (isWaitedFor) saveLater({ file, facts, id }, context);
  const note: SocketNote = {
    ...(isWaitedFor ? { waiting: true } : {}),
    ...noteOfState(file, facts, messages, isFirstOfPair(facts, context), context.tree),
    ...(name.path === undefined ? {} : { path: name.path }),
    ...(name.address === undefined ? {} : { address: name.address }),
    ...(facts.state === TCP_STATE.ESTABLISHED && survey.isAccepted(facts) ? { accepted: true } : {}),
    ...(standing === 'pending' ? { place: survey.waitingIn(facts.ino)?.place ?? 0 } : {}),
    ...(facts.type === SOCK.DGRAM && (standing === 'orphaned' || standing === 'reset') ? { widowed: true } : {}),
  };
  if (Object.keys(note).length > 0) noteFile(context, KIND, id, note);
  const shutdown = standing === 'reset' && facts.type !== SOCK.DGRAM ? SkShutdown.BOTH : facts.shutdown;
  return {
    id,
    ino: facts.ino,
    type: facts.type,
    state: standing === 'ours' ? TCP_STATE.CLOSE : facts.state,
    flags: imageFlags(file.flags),
    uflags: standing === 'ours' ? USK_SERVICE : 0,
    backlog: facts.sendQueue,
    peer: peerInImages(facts, standing, survey),
    fown: captureOwner(file.local, file.flags, context),
    opts: options,
    ...name.entry,
    ns_id: survey.networkOf(facts.ino),
    ...(shutdown === 0 ? {} : { shutdown: shutdown as 1 | 2 | 3 }),
  };
}

/** The inode of the peer as images hold it: of a connection that waits, the socket in which it does. */
function peerInImages({ ino, peer = 0 }: UnixSocket, standing: Standing, survey: Survey): number {
  if (standing === 'reset' || standing === 'ours') return 0;
  return peer || (survey.waitingIn(ino)?.listener.ino ?? 0);
}

function outsidePeer({ ino, peer }: UnixSocket, survey: Survey): UnixSocket[] {
  return [survey.socket(peer ?? 0) ?? survey.waitingIn(ino)?.listener ?? []].flat();
}

/** Inodes of peers whose other end is saved already, with SO_PEERCRED of that end. */
const MAKERS = new Slot((_: DumpContext) => new Map<number, string>());

/** Of a pair, the end that comes first tells who made it, and the other one only if it tells something else. */
function isFirstOfPair({ ino, peer }: UnixSocket, context: DumpContext): (maker: string) => boolean {
  return (maker) => {
    const makers = MAKERS.of(context);
    makers.set(ino, maker);
    return makers.get(peer ?? 0) !== maker;
  };
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

function noteOfState(
  file: OpenFile,
  { peer, type }: UnixSocket,
  messages: readonly Message[],
  tellsMaker: (maker: string) => boolean,
  { pids, ids }: SeenTree,
): SocketNote {
  const { pid: host, uid, gid } = peerCredentials(file.local);
  const pid = pids.saved(host);
  const senders = messages.flatMap(({ sender }, place) =>
    sender && sender.pid > 0
      ? [[place, pids.saved(sender.pid), ids.uidThere(sender.uid), ids.gidThere(sender.gid)] as const]
      : [],
  );
  const sources = messages.flatMap(({ source }, place) =>
    type === SOCK.DGRAM && source.length > 0 ? [[place, toBase64(source)] as const] : [],
  );
  const options = captureForgotten(file.local, AF.UNIX);
  return {
    ...(pid > 0 && tellsMaker(`${host} ${uid} ${gid}`) ? { maker: [pid, ids.uidThere(uid), ids.gidThere(gid)] } : {}),
    ...(peer === 0 && hasError(file.local) ? { reset: true } : {}),
    ...(senders.length > 0 ? { senders } : {}),
    ...(sources.length > 0 ? { sources } : {}),
    ...(options ? { options } : {}),
  };
}
