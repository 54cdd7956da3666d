/**
 * User namespaces. `userns-N.img` has their maps, as CRIU has them; what that has no place for is in a file of our own.
 * Users and groups in images are those that the user namespace of the tree's root sees.
 */
import { encodeText } from '../../base/text.ts';
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
import { NAMESPACE_FLAGS } from '../inside.ts';
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
  const { uid, gid, groups } = makerOf(SAVED_USER_NAMESPACES.of(context, id));
  const list = new Uint8Array(new Uint32Array(groups).buffer);
  const program = batch.reserve(4, list.length + 8);
  program.call('setgroups', groups.length, groups.length > 0 ? program.data(list) : 0);
  program.call('prctl', PR.SET_SECUREBITS, SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  program.call('setresgid', gid, gid, gid);
  program.call('setresuid', uid, uid, uid);
}

/** Gives a namespace its maps, which the kernel takes once, and its maker an ID of it. */
function rebuild({ id, first }: MadeNamespace, context: RestoreContext): void {
  if (!first) return;
  const { entry, note } = SAVED_USER_NAMESPACES.of(context, id);
  const set = (name: string, text: string): void => {
    if (text === '') return;
    const path = `/proc/${first.tracee.pid}/${name}`;
    using file = openFile(path, O.WRONLY);
    const done = tryWrite(file.number, encodeText(text));
    if (done < 0) throw new SyscallError('write', -done, { task: first.ref, resource: path });
  };
  const lines = (map: typeof entry.uid_map): string =>
    map.map(({ first: inside, lower_first, count }) => `${inside} ${lower_first} ${count}\n`).join('');
  // Before the groups have a map: afterwards the kernel takes it no more.
  if (note?.setgroups) set('setgroups', note.setgroups);
  set('uid_map', lines(entry.uid_map));
  set('gid_map', lines(entry.gid_map));
  set(
    'projid_map',
    (note?.projects ?? []).map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join(''),
  );
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
