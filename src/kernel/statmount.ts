/** What statmount(2) tells of a mount and mountinfo does not (since Linux 6.8; maps of users since 6.15). */
import type { LocalFd } from '../base/brands.ts';
import { decodeText } from '../base/text.ts';
import { AT, STATMOUNT, STATX } from './constants/files.ts';
import { Statx } from './layouts/files.ts';
import { MountRequest, Statmount } from './layouts/mounts.ts';
import { type IdRange, parseIdMap } from './proc/namespaces.ts';
import { arena, arenaAddress, arenaPath, arenaView, trySyscall } from './syscall.ts';

/** The users and groups that a mount shows in place of those that its file system has. */
export interface MountIdMap {
  readonly uids: IdRange[];
  readonly gids: IdRange[];
}

const STATX_AT = 8192;
const ANSWER_AT = 16 * 1024;
const ANSWER_SIZE = 32 * 1024;
const BOTH = STATMOUNT.MNT_UIDMAP | STATMOUNT.MNT_GIDMAP;

/**
 * The map of the mount that a descriptor is on, of the mount namespace that Stasis is in; undefined if it has none.
 * Returns -errno if the kernel does not tell.
 */
export function idMapOf(local: LocalFd): MountIdMap | undefined | number {
  const mask = STATX.MNT_ID_UNIQUE;
  const asked = trySyscall('statx', local, arenaPath(''), AT.EMPTY_PATH, mask, arenaAddress + STATX_AT);
  if (asked < 0) return asked;
  const mount = arenaView.getBigUint64(STATX_AT + Statx.offsets.mntId, true);
  MountRequest.encodeInto(arena, 0, { size: MountRequest.size, mount, param: BigInt(BOTH) });
  const told = trySyscall('statmount', arenaAddress, arenaAddress + ANSWER_AT, ANSWER_SIZE, 0);
  if (told < 0) return told;
  const answer = Statmount.decode(arena.subarray(ANSWER_AT, ANSWER_AT + Statmount.size));
  if ((answer.mask & BigInt(BOTH)) !== BigInt(BOTH)) return undefined;
  const { uidCount, uidMap, gidCount, gidMap } = answer;
  return { uids: ranges(uidMap, uidCount), gids: ranges(gidMap, gidCount) };
}

/** Ranges as lines of a map, each with a NUL at its end; `offset` is among the texts of the answer. */
function ranges(offset: number, count: number): IdRange[] {
  const found: IdRange[] = [];
  for (let at = ANSWER_AT + Statmount.size + offset; found.length < count; ) {
    const end = arena.indexOf(0, at);
    found.push(...parseIdMap(Buffer.from(`${decodeText(arena.subarray(at, end))}\n`)));
    at = end + 1;
  }
  return found;
}
