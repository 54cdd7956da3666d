/**
 * User namespaces. `userns-N.img` has their maps, as CRIU has them; what that has no place for is in a file of our own.
 * Users and groups in images are those that the user namespace of the tree's root sees.
 */
import type { HostPid } from '../../base/brands.ts';
import { cstring, encodeText } from '../../base/text.ts';
import type {
  DumpContext,
  MadeNamespace,
  NamespaceKind,
  RestoreContext,
  RestoreTask,
  SeenNamespace,
} from '../../contract/contract.ts';
import { Images } from '../../images/kinds.ts';
import { O } from '../../kernel/constants/files.ts';
import { PR, PR_CAP_AMBIENT, SECBIT } from '../../kernel/constants/prctl.ts';
import { openFile, tryWrite } from '../../kernel/files.ts';
import type { IdRange } from '../../kernel/proc/namespaces.ts';
import { SyscallError } from '../../kernel/syscall.ts';
import { IdMaps } from '../../support/user-ids.ts';
import { handOver } from '../../tracee/handover.ts';
import { NAMESPACE_FLAGS } from '../inside.ts';
import { MADE_NAMESPACES } from '../made.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { INSIDE, makerOf } from './inside.ts';
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
 * Has a process become whoever has made a user namespace: its owner. What has no ID inside cannot be had there later.
 */
function beforeEntering({ batch, context }: RestoreTask, id: number): void {
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

/** Gives a namespace its maps, which the kernel takes once. */
function rebuild({ id, first }: MadeNamespace, context: RestoreContext): void {
  if (!first) return;
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
  const writer = parent === undefined ? undefined : MADE_NAMESPACES.of(context).get('user', parent)?.first;
  for (const [name, text] of files) if (text !== '') set(first, name, text, name === 'setgroups' ? undefined : writer);
}

/** Writes a file of a process, or has another process write it. */
function set({ tracee, ref }: RestoreTask, name: string, text: string, writer: RestoreTask | undefined): void {
  const bytes = encodeText(text);
  const done = writer ? writeBy(writer, tracee.pid, name, bytes) : write(tracee.pid, name, bytes);
  if (done < 0) throw new SyscallError('write', -done, { task: ref, resource: `/proc/${tracee.pid}/${name}` });
}

function write(pid: HostPid, name: string, bytes: Uint8Array): number {
  using file = openFile(`/proc/${pid}/${name}`, O.WRONLY);
  return tryWrite(file.number, bytes);
}

/** As {@link write}, by a process of the tree. It gets our directory of the other in `/proc`: it may see none. */
function writeBy({ seed, batch }: RestoreTask, pid: HostPid, name: string, bytes: Uint8Array): number {
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
function settle({ batch, context, pid }: RestoreTask): void {
  const inside = INSIDE.of(context, pid);
  if (!inside) return;
  const { maps, uid, gid } = inside;
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
export const userNamespaces: NamespaceKind = {
  name: 'user',
  flag: NAMESPACE_FLAGS.user,
  obstacles: userObstacles,
  capture,
  beforeEntering,
  rebuild,
  entered: settle,
};
