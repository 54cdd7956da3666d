/** What a dump has to know about a user namespace. */
import type { HostPid } from '../../base/brands.ts';
import type { IdView, SeenNamespace, SeenTask, SeenThread, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot } from '../../contract/slots.ts';
import { NS_GET } from '../../kernel/constants/namespaces.ts';
import { type IdRange, parseIdMap } from '../../kernel/proc/namespaces.ts';
import { readProc, readProcIfAny } from '../../kernel/proc/read.ts';
import type { ProcStatus } from '../../kernel/proc/status.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaAddress, arenaView, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { IdMaps, NO_ID } from '../../support/user-ids.ts';
import { SEEN_NAMESPACES, usersDownTo } from '../seen.ts';
import { helperInUsers } from './helper.ts';

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
export const SEEN_USERS = new KeyedSlot((tree: SeenTree, namespace: SeenNamespace): SeenUsers => {
  using file = namespace.open();
  const [member] = namespace.members;
  if (member) return look(tree, namespace, file, member.pid);
  using helper = helperInUsers(file.number).seed;
  return look(tree, namespace, file, helper.tracee.pid);
});

/** Looks at a user namespace by way of a process that is in it. */
function look(tree: SeenTree, namespace: SeenNamespace, file: Fd, pid: HostPid): SeenUsers {
  const maps = IdMaps.of(pid);
  syscall('ioctl', file.number, NS_GET.OWNER_UID, arenaAddress);
  const owner = arenaView.getUint32(0, true);
  // Threads of a running tree may end at any time.
  const statusesOf = (thread: SeenThread): ProcStatus[] =>
    tree.frozen ? [thread.status] : (unlessGone(() => [thread.status]) ?? []);
  const statuses = inhabitants(namespace, tree).flatMap(({ threads }) => threads.flatMap(statusesOf));
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
}

/** The users and groups that images of a tree are about: as the outermost user namespace of its root sees them. */
export function seenIds(tree: SeenTree): IdView {
  const users = SEEN_NAMESPACES.of(tree).of(tree.root.pid, 'user');
  const [outermost] = usersDownTo(users);
  return outermost && outermost !== users ? SEEN_USERS.of(tree, outermost).maps : IdMaps.of(tree.root.pid);
}

/**
 * The processes that are in a user namespace; for one that none is in, those inside of it. They have gone through it at
 * a restore as well, with whatever they could not get further in.
 */
export function inhabitants(namespace: SeenNamespace, tree: SeenTree): readonly SeenTask[] {
  if (namespace.members.length > 0) return namespace.members;
  const inner = SEEN_NAMESPACES.of(tree).others.filter(({ name, owner }) => name === 'user' && owner === namespace);
  return inner.flatMap((one) => inhabitants(one, tree));
}

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
