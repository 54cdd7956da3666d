/**
 * User namespaces. `userns-N.img` has their maps, as CRIU has them; what that has no place for is in a file of our own.
 * Users and groups in images are those that the user namespace of the tree's root sees.
 */
import type { HostPid } from '../../base/brands.ts';
import { cstring, encodeText } from '../../base/text.ts';
import type {
  DumpContext,
  EnteringTask,
  NamespaceDoors,
  RestoreContext,
  SeenNamespace,
} from '../../contract/contract.ts';
import { Images } from '../../images/kinds.ts';
import { O } from '../../kernel/constants/files.ts';
import { PR, PR_CAP_AMBIENT, SECBIT } from '../../kernel/constants/prctl.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { openFile, tryWrite } from '../../kernel/files.ts';
import type { IdRange } from '../../kernel/proc/namespaces.ts';
import { SyscallError } from '../../kernel/syscall.ts';
import { IdMaps } from '../../support/user-ids.ts';
import { Batch } from '../../tracee/batch.ts';
import { handOver } from '../../tracee/handover.ts';
import { openNamespace } from '../inside.ts';
import { MADE_NAMESPACES } from '../made.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { helperInUsers } from './helper.ts';
import { insideOf, makerOf } from './inside.ts';
import { userObstacles } from './obstacles.ts';
import { SAVED_USER_NAMESPACES, type UserNote, userNoteName } from './saved.ts';
import { SEEN_USERS } from './seen.ts';

function capture(namespace: SeenNamespace, { tree, images }: DumpContext): void {
  const { id } = namespace;
  const { maps, owner, deniesGroups, projects, strangers, groups } = SEEN_USERS.of(tree, namespace);
  const extents = (map: readonly IdRange[]) =>
    map.map(({ inside, outside, count }) => ({ first: inside, lower_first: outside, count }));
  images.write(Images.userns, id, [{ uid_map: extents(maps.uids), gid_map: extents(maps.gids) }]);
  const [uid] = strangers.uids;
  const [gid] = strangers.gids;
  const note: UserNote = {
    ...(namespace.owner ? { parent: namespace.owner.id } : {}),
    owner,
    ...(deniesGroups ? { setgroups: 'deny' as const } : {}),
    ...(projects.length > 0 ? { projects: [...projects] } : {}),
    ...(uid === undefined && gid === undefined
      ? {}
      : { strangers: { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) } }),
    ...(groups ? { groups: [...groups] } : {}),
    owns: SEEN_NAMESPACES.of(tree)
      .others.filter((other) => other.owner === namespace)
      .map((other) => other.id),
  };
  images.put(userNoteName(id), encodeText(`${JSON.stringify(note)}\n`));
}

/**
 * Makes a user namespace that no process of the tree makes: processes enter it later, or only namespaces that belong to
 * it. The one around it exists.
 */
export function makeUsers(context: RestoreContext, id: number): void {
  const { note } = SAVED_USER_NAMESPACES.of(context, id);
  const made = MADE_NAMESPACES.of(context);
  const around = note?.parent === undefined ? undefined : made.get('user', note.parent);
  const { seed, batch } = helperInUsers(around?.fd);
  using _ = seed;
  becomeOwner({ seed, batch, context }, id);
  batch.call('unshare', CLONE.NEWUSER);
  batch.flush();
  const { pid } = seed.tracee;
  using file = openNamespace(pid, 'user');
  made.add({ name: 'user', id, fd: file.number });
  file.release();
  giveMaps(id, pid, context);
}

/**
 * Has a process become whoever has made a user namespace: its owner. What has no ID inside cannot be had there later.
 */
function becomeOwner({ batch, context }: EnteringTask, id: number): void {
  const saved = SAVED_USER_NAMESPACES.of(context, id);
  const { uid, gid, groups } = inParent(makerOf(saved), saved.note?.parent, context);
  const list = new Uint8Array(new Uint32Array(groups).buffer);
  const program = batch.reserve(5, list.length + 8);
  // Where they cannot be changed, they are those of the parent.
  if (mayChangeGroups(saved.note?.parent, context)) {
    program.call('setgroups', groups.length, groups.length > 0 ? program.data(list) : 0);
  }
  program.call('prctl', PR.SET_SECUREBITS, SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  program.call('setresgid', gid | 0, gid | 0, gid | 0);
  program.call('setresuid', uid | 0, uid | 0, uid | 0);
  // Its maps may be written by a process that is not root.
  program.call('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
}

/** Whether processes of a user namespace can change their groups; those of ours can. */
function mayChangeGroups(id: number | undefined, context: RestoreContext): boolean {
  return id === undefined || SAVED_USER_NAMESPACES.of(context, id).note?.groups === undefined;
}

/** A user as the user namespace with this ID sees it, or ours. */
function inParent(maker: ReturnType<typeof makerOf>, id: number | undefined, context: RestoreContext): typeof maker {
  if (id === undefined) return maker;
  const maps = IdMaps.from(SAVED_USER_NAMESPACES.of(context, id).entry);
  const { uid, gid, groups } = maker;
  return { uid: maps.uidThere(uid), gid: maps.gidThere(gid), groups: groups.map((group) => maps.gidThere(group)) };
}

/** Gives the namespace that a process has just made its maps, which the kernel takes once. */
export function giveMaps(id: number, pid: HostPid, context: RestoreContext): void {
  const { entry, note } = SAVED_USER_NAMESPACES.of(context, id);
  const { parent } = note ?? {};
  const outer = parent === undefined ? undefined : IdMaps.from(SAVED_USER_NAMESPACES.of(context, parent).entry);
  const lines = (map: typeof entry.uid_map, there: (id: number) => number): string =>
    map.map(({ first: inside, lower_first, count }) => `${inside} ${there(lower_first)} ${count}\n`).join('');
  const projects = (note?.projects ?? []).map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`);
  // `setgroups` before the groups have a map: afterwards the kernel takes it no more.
  const files = [
    ['setgroups', note?.setgroups ?? ''],
    ['uid_map', lines(entry.uid_map, (uid) => outer?.uidThere(uid) ?? uid)],
    ['gid_map', lines(entry.gid_map, (gid) => outer?.gidThere(gid) ?? gid)],
    ['projid_map', projects.join('')],
  ] as const;
  // The kernel takes maps from the namespace around only, as that of whoever has opened the file.
  const around = parent === undefined ? undefined : MADE_NAMESPACES.of(context).get('user', parent);
  using seed = around && helperInUsers(around.fd).seed;
  const writer = seed && { seed, batch: new Batch(seed.remote), context };
  // As whoever owns the files of the process in /proc.
  if (writer) becomeOwner(writer, id);
  for (const [name, text] of files) {
    if (text === '') continue;
    const bytes = encodeText(text);
    const done = writer && name !== 'setgroups' ? writeBy(writer, pid, name, bytes) : write(pid, name, bytes);
    if (done < 0) throw new SyscallError('write', -done, { resource: `/proc/${pid}/${name}` });
  }
}

function write(pid: HostPid, name: string, bytes: Uint8Array): number {
  using file = openFile(`/proc/${pid}/${name}`, O.WRONLY);
  return tryWrite(file.number, bytes);
}

/** As {@link write}, by a process of the tree. It gets our directory of the other in `/proc`: it may see none. */
function writeBy({ seed, batch }: EnteringTask, pid: HostPid, name: string, bytes: Uint8Array): number {
  using directory = openFile(`/proc/${pid}`, O.PATH | O.DIRECTORY);
  const [at = -1] = handOver(seed, batch, [directory.number]);
  const path = cstring(name);
  const program = batch.reserve(4, path.length + bytes.length + 16);
  const file = program.attempt('openat', at, program.data(path), O.WRONLY | O.CLOEXEC, 0);
  const written = program.attempt('write', file, program.data(bytes), bytes.length);
  program.attempt('close', file);
  program.call('close', at);
  batch.flush();
  return program.result(file) < 0 ? program.result(file) : program.result(written);
}

/** Has a process become a user of its namespace, if that has any: others can own no file of its file systems. */
function settle({ batch, context }: EnteringTask, id: number): void {
  const { maps, uid, gid } = insideOf(SAVED_USER_NAMESPACES.of(context, id));
  const [own, group] = [maps.uidThere(uid), maps.gidThere(gid)];
  const program = batch.reserve(5);
  // Capabilities that its way into the namespace has given it (tracee/seed.ts).
  program.attempt('prctl', PR.CAP_AMBIENT, PR_CAP_AMBIENT.CLEAR_ALL, 0, 0, 0);
  program.call('prctl', PR.SET_SECUREBITS, SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  // An ID of -1 changes nothing.
  program.call('setresgid', group | 0, group | 0, group | 0);
  program.call('setresuid', own | 0, own | 0, own | 0);
  // A change of users takes that from a process, and with it files of its own in /proc.
  program.call('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  batch.flush();
}

/** User namespaces. */
export const userNamespaces: NamespaceDoors = {
  obstacles: userObstacles,
  capture,
  beforeEntering: becomeOwner,
  rebuild({ id, first }, context) {
    if (first) giveMaps(id, first.tracee.pid, context);
  },
  entered: settle,
};
