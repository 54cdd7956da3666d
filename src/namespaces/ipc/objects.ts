/** What System V objects of all three types have in common: IDs, keys, owners. */
import { StasisError } from '../../base/errors.ts';
import type { IdView } from '../../contract/contract.ts';
import type { InputOf } from '../../images/message.ts';
import type { IpcDescEntry, ipcDescEntry } from '../../images/schema/namespaces.ts';
import { actAs } from '../../kernel/act-as.ts';
import { IPC, IPC_PERMISSIONS } from '../../kernel/constants/ipc.ts';
import { trySet } from '../../kernel/files.ts';
import { Ipc64Perm } from '../../kernel/layouts/ipc.ts';
import type { SysvPermissions } from '../../kernel/proc/sysvipc.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';

/** The types of objects, as the kernel's calls name them, and as people do. */
export const OBJECT_NAMES = {
  shm: 'shared memory segment',
  sem: 'semaphore array',
  msg: 'message queue',
} as const;
export type ObjectType = keyof typeof OBJECT_NAMES;

/** The name of an object in errors. */
export function objectName(type: ObjectType, { id, key }: Pick<IpcDescEntry, 'id' | 'key'>): string {
  return `${OBJECT_NAMES[type]} ${id} (key 0x${key.toString(16)})`;
}

/** What an image has of every object. */
export function descriptionOf(
  { id, key, mode, uid, gid, cuid, cgid }: SysvPermissions,
  ids: IdView,
): InputOf<typeof ipcDescEntry> {
  return {
    key,
    uid: ids.uidThere(uid),
    gid: ids.gidThere(gid),
    cuid: ids.uidThere(cuid),
    cgid: ids.gidThere(cgid),
    mode,
    id,
  };
}

/**
 * Makes an object with its ID, in the name of the user that had made it; it is removed if the restore fails. `work`
 * makes the call, with `flags` that have the mode, and returns its result.
 *
 * @throws StasisError (conflict) if the ID or the key is in use
 */
export function makeObject(type: ObjectType, desc: IpcDescEntry, ids: IdView, work: (flags: number) => number): void {
  const resource = objectName(type, desc);
  const path = `/proc/sys/kernel/${type}_next_id`; // since 3.8, CONFIG_CHECKPOINT_RESTORE
  const set = trySet(path, String(desc.id));
  if (set < 0) throw new SyscallError('write', -set, { resource: `${path}, for ${resource}` });
  const flags = IPC.CREAT | IPC.EXCL | (desc.mode & IPC_PERMISSIONS);
  const id = actAs(ids.uidHere(desc.cuid), ids.gidHere(desc.cgid), () => work(flags));
  if (id < 0) throw new SyscallError(`${type}get`, -id, { resource });
  if (id === desc.id) return;
  removeObject(type, id);
  const reason = `the kernel gave it ID ${id}: the place of its own is in use`;
  throw new StasisError({ kind: 'conflict', code: TAKEN[type], resource, reason });
}

const TAKEN = { shm: 'SYSV_SEGMENT_TAKEN', sem: 'SYSV_OBJECT_TAKEN', msg: 'SYSV_OBJECT_TAKEN' } as const;

/** Removes an object; of no consequence if it is gone. */
export function removeObject(type: ObjectType, id: number): void {
  control(type, id, IPC.RMID, 0);
}

/** Sets owner and permissions (IPC_SET). `more` is the rest of the struct of this type. @throws SyscallError */
export function setOwner(
  type: ObjectType,
  desc: IpcDescEntry,
  ids: IdView,
  more: Uint8Array = new Uint8Array(STRUCT),
): void {
  Ipc64Perm.encodeInto(more, 0, {
    uid: ids.uidHere(desc.uid),
    gid: ids.gidHere(desc.gid),
    mode: desc.mode & IPC_PERMISSIONS,
  });
  const result = control(type, desc.id, IPC.SET, more);
  if (result < 0) throw new SyscallError(`${type}ctl`, -result, { resource: objectName(type, desc) });
}

/** As many bytes as the longest of the structs has. */
const STRUCT = 128;

function control(type: ObjectType, id: number, command: number, argument: Uint8Array | 0): number {
  // Of semctl(2) the second argument is the number of a semaphore.
  if (type === 'sem') return trySyscall('semctl', id, 0, command, argument);
  return trySyscall(`${type}ctl`, id, command, argument);
}
