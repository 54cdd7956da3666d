/** What on this machine is in the way of the names of unix sockets. Found before any process is made. */

import { StasisError } from '../../../base/errors.ts';
import { decodeText } from '../../../base/text.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { S_IF } from '../../../kernel/constants/files.ts';
import { unixSockets } from '../../../kernel/netlink/unix-diag.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';
import { followedStatus, statusAt } from '../../../kernel/statx.ts';
import { isOnOwnMount } from '../../../namespaces/mnt/saved.ts';
import { inSavedNetwork, isNetworkThere } from '../../../namespaces/networks.ts';
import type { SavedSocket } from './graph.ts';
import { isPath } from './names.ts';
import { pathOf } from './paths.ts';
import { isLive } from './staging.ts';

/** The path of a socket's file as it is to be, or was before it was removed. */
export function filePath({ entry, note }: SavedSocket): string {
  return note.path ?? pathOf(decodeText(entry.name).replace(/\0+$/, ''), entry.name_dir);
}

/** Checks that all sockets can have their names. @throws StasisError kind 'conflict' */
export function requireNamesFree(sockets: readonly SavedSocket[], context: RestoreContext): void {
  const paths = new Set<string>();
  const abstract: SavedSocket[] = [];
  for (const socket of sockets) {
    const { name, deleted, ns_id: network } = socket.entry;
    if (name.length === 0) continue;
    // What is in a namespace of the tree's own is not there yet, and nobody else's.
    if (!isPath(name)) abstract.push(...(isNetworkThere(context, network) ? [socket] : []));
    else if (!deleted && !isOnOwnMount(socket.entry, context)) paths.add(filePath(socket));
  }
  for (const path of paths) requirePathFree(path);
  const [first] = abstract;
  if (!first) return;
  const wanted = new Set(abstract.map(({ entry }) => decodeText(entry.name)));
  for (const { name, ino } of inSavedNetwork(context, first.entry.ns_id, () => unixSockets()).values()) {
    if (name && !isPath(name) && wanted.has(decodeText(name))) {
      throw taken(showUnixName(name), `another socket has that name, socket:[${ino}]`, 'end the program that has it');
    }
  }
}

function requirePathFree(path: string): void {
  const parent = path.slice(0, path.lastIndexOf('/')) || '/';
  if (!followedStatus(parent)) {
    throw taken(path, 'its directory is missing, so the socket cannot be bound there', `make the directory ${parent}`);
  }
  const there = statusAt(path);
  if (!there) return;
  if ((there.mode & S_IF.MT) !== S_IF.SOCK) {
    throw taken(path, 'there is a file that is no socket, where a socket is to be bound', 'move it out of the way');
  }
  if (isLive(path)) {
    throw taken(path, 'another socket is bound there', 'end the program that has it, or move its file out of the way');
  }
}

/** Checks that somebody is there to connect to. @throws StasisError kind 'conflict' */
export function requireThere(peer: SavedSocket, context: RestoreContext): void {
  const { name } = peer.entry;
  const isThere = isPath(name)
    ? followedStatus(filePath(peer)) !== undefined && isLive(filePath(peer))
    : [...inSavedNetwork(context, peer.entry.ns_id, () => unixSockets()).values()].some(
        (other) => other.name && decodeText(other.name) === decodeText(name),
      );
  if (isThere) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'SOCKET_UNIX_OUTSIDE',
    resource: showUnixName(name),
    reason: 'a socket of the images was connected to it, and no socket has that name now',
    remedy: 'start the program that had it, or give --unix-peer reset',
  });
}

function taken(resource: string, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'conflict', code: 'SOCKET_NAME_TAKEN', resource, reason, remedy });
}
