/** What a dump has to know about a user namespace. */
import type { SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot } from '../../contract/slots.ts';
import { NS_GET } from '../../kernel/constants/namespaces.ts';
import { type IdRange, parseIdMap } from '../../kernel/proc/namespaces.ts';
import { readProc, readProcIfAny } from '../../kernel/proc/read.ts';
import type { ProcStatus } from '../../kernel/proc/status.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaAddress, arenaView, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { IdMaps, NO_ID } from '../../support/user-ids.ts';
import { openNamespace } from '../inside.ts';

/** A user namespace, seen from ours. */
export interface SeenUsers {
  readonly maps: IdMaps;
  /** The inode number of the namespace that it was made in; undefined for one that we may not see. */
  readonly parent: number | undefined;
  /** The user that has all capabilities in it. */
  readonly owner: number;
  /** Whether its processes may not change their groups. */
  readonly deniesGroups: boolean;
  readonly projects: readonly IdRange[];
  /** Users and groups of its processes that have no ID in it. */
  readonly strangers: { readonly uids: readonly number[]; readonly gids: readonly number[] };
  /** The groups of its processes, if these include some that have no ID in it or nobody may change them. */
  readonly groups: readonly number[] | undefined;
  /** Whether all of its processes are in the same groups. */
  readonly groupsAgree: boolean;
}

/** The user namespaces of a tree. */
export const SEEN_USERS = new KeyedSlot((_: SeenTree, { members }: SeenNamespace): SeenUsers => {
  const [member] = members;
  if (!member) return NOTHING;
  const { pid } = member;
  const maps = IdMaps.of(pid);
  using file = openNamespace(pid, 'user');
  syscall('ioctl', file.number, NS_GET.OWNER_UID, arenaAddress);
  const owner = arenaView.getUint32(0, true);
  const statuses = members.flatMap(({ threads }) => threads.map(({ status }) => status));
  const deniesGroups = readProcIfAny(pid, 'setgroups')?.[0] === 'd'.charCodeAt(0);
  const [first = []] = statuses.map(({ groups }) => groups);
  // Without a map nobody may change them either (userns_may_setgroups()).
  const isFixed =
    deniesGroups ||
    maps.gids.length === 0 ||
    statuses.some(({ groups }) => groups.some((gid) => maps.gidThere(gid) === NO_ID));
  return {
    maps,
    parent: parentOf(file),
    owner,
    deniesGroups,
    projects: parseIdMap(readProc(pid, 'projid_map')),
    strangers: strangersAmong(statuses, maps),
    groups: isFixed ? first : undefined,
    groupsAgree: statuses.every(({ groups }) => groups.join() === first.join()),
  };
});

const NOTHING: SeenUsers = {
  maps: new IdMaps([], []),
  parent: undefined,
  owner: 0,
  deniesGroups: false,
  projects: [],
  strangers: { uids: [], gids: [] },
  groups: undefined,
  groupsAgree: true,
};

function strangersAmong(statuses: readonly ProcStatus[], maps: IdMaps): SeenUsers['strangers'] {
  const all = (of: 'uid' | 'gid'): number[] =>
    statuses.flatMap(({ [of]: { real, effective, saved, fs } }) => [real, effective, saved, fs]);
  return {
    uids: [...new Set(all('uid').filter((uid) => maps.uidThere(uid) === NO_ID))],
    gids: [...new Set(all('gid').filter((gid) => maps.gidThere(gid) === NO_ID))],
  };
}

function parentOf(file: Fd): number | undefined {
  const parent = trySyscall('ioctl', file.number, NS_GET.PARENT, 0);
  if (parent < 0) return undefined;
  using opened = new Fd(parent);
  return statusOf(opened.number).ino;
}
