/**
 * Peers outside of the tree. As with CRIU, images have an entry for each of them, marked as external, of which only the
 * name counts: at the restore a socket is connected to whoever has that name then.
 */

import { decodeText } from '../../../base/text.ts';
import type { DumpContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { InputOf } from '../../../images/message.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import type { unixSkEntry } from '../../../images/schema/sockets.ts';
import { TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { tryReadLink } from '../../../kernel/files.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';
import { socketHolders } from '../../../kernel/socket-peers.ts';
import { followedStatus } from '../../../kernel/statx.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { isPath } from './names.ts';
import { KIND } from './notes.ts';
import { pathOf } from './paths.ts';
import type { Refusal } from './support.ts';

/** `uflags` of an entry: the socket is outside of the tree. */
export const USK_EXTERN = 1;

/** Peers outside that have an entry already, by inode. */
const SAVED = new Slot((_: DumpContext) => new Set<number>());

/** Saves the name of a peer outside of the tree, once; `network` is the ID of its network namespace. */
export function saveOutsidePeer(peer: UnixSocket, network: number, context: DumpContext): void {
  const saved = SAVED.of(context);
  if (saved.has(peer.ino)) return;
  saved.add(peer.ino);
  const id = context.newFileId();
  const place = placeOf(peer);
  const usk: InputOf<typeof unixSkEntry> = {
    id,
    ino: peer.ino,
    type: peer.type,
    state: TCP_STATE.LISTEN,
    flags: 0,
    uflags: USK_EXTERN,
    backlog: 0,
    peer: 0,
    fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 },
    opts: NO_OPTIONS,
    name: peer.name ?? new Uint8Array(),
    ns_id: network,
    ...(place?.directory === undefined ? {} : { name_dir: place.directory }),
  };
  context.addFile({ type: FdTypes.UNIXSK, id, usk });
  if (place?.path !== undefined) noteFile(context, KIND, id, { path: place.path });
}

const NO_OPTIONS = {
  so_sndbuf: 0,
  so_rcvbuf: 0,
  so_snd_tmo_sec: 0n,
  so_snd_tmo_usec: 0n,
  so_rcv_tmo_sec: 0n,
  so_rcv_tmo_usec: 0n,
  so_filter: [],
} as const;

/** Where the file of a peer outside is, if that does not follow from its name. */
interface Place {
  readonly directory?: string;
  readonly path?: string;
}

/** Finds the file of a peer outside of the tree; undefined if its name leads nowhere, or to another file. */
function placeOf(peer: UnixSocket): Place | undefined {
  if (!peer.name || !isPath(peer.name)) return {};
  const text = decodeText(peer.name).replace(/\0+$/, '');
  const leads = (path: string): boolean => followedStatus(path)?.ino === peer.file?.ino;
  if (text.startsWith('/') && leads(text)) return {};
  // The name is relative, or that of a process with another root.
  const holder = socketHolders(new Set([peer.ino])).get(peer.ino);
  for (const link of holder ? ['cwd', 'root'] : []) {
    const directory = `/proc/${holder?.pid}/${link}`;
    const real = tryReadLink(directory);
    if (typeof real !== 'string' || !leads(`${directory}/${text}`)) continue;
    return text.startsWith('/') ? { path: pathOf(text.slice(1), real) } : { directory: real };
  }
  return undefined;
}

/** Why a socket cannot be connected with its peer again by name; undefined if it can. */
export function outsideNameRefusal(peer: UnixSocket): Refusal | undefined {
  if (placeOf(peer)) return undefined;
  return {
    code: 'SOCKET_UNIX_OUTSIDE',
    reason: `the name of its peer, ${showUnixName(peer.name ?? new Uint8Array())}, does not lead to it any more`,
    remedy: 'let it go with --unix-peer reset',
  };
}
