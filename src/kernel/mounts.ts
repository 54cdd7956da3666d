/**
 * The mount calls that work with descriptors (since Linux 5.2; mount_setattr(2) since 5.12): a mount is a descriptor,
 * attached anywhere or nowhere.
 */
import type { LocalFd } from '../base/brands.ts';
import { AT, O } from './constants/files.ts';
import { FSCONFIG, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC, MOVE_MOUNT, OPEN_TREE, RESOLVE } from './constants/mounts.ts';
import { MountAttr, OpenHow } from './layouts/mounts.ts';
import { arena, arenaAddress, arenaPath, Fd, SyscallError, syscall, trySyscall } from './syscall.ts';

/** Where structs stand in the arena; paths stand before it. */
const STRUCT_AT = 32 * 1024;

/**
 * Opens a path below a directory that is taken for the root: no symbolic link and no `..` leads out of it. Returns a
 * descriptor or -errno.
 */
export function tryOpenInRoot(root: LocalFd, path: string, flags: number, mode = 0): number {
  return openat2(root, path, flags, mode, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS);
}

/**
 * Opens a path below the root of a mount, without entering any other mount on the way. Returns a descriptor or -errno:
 * -EXDEV where something is mounted over the path.
 */
export function tryOpenOnMount(mount: LocalFd, path: string): number {
  const resolve = RESOLVE.IN_ROOT | RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS;
  return openat2(mount, path, O.PATH | O.NOFOLLOW, 0, resolve);
}

function openat2(root: LocalFd, path: string, flags: number, mode: number, resolve: number): number {
  // openat2(2) refuses what openat(2) passes over: flags that mean nothing with O_PATH, and a mode for no new file.
  const known = (flags & O.PATH) === 0 ? flags : flags & (O.PATH | O.DIRECTORY | O.NOFOLLOW);
  const makes = (flags & (O.CREAT | O.TMPFILE_BIT)) !== 0;
  const how = { flags: BigInt(known | O.CLOEXEC), mode: BigInt(makes ? mode : 0), resolve: BigInt(resolve) };
  OpenHow.encodeInto(arena, STRUCT_AT, how);
  return trySyscall('openat2', root, arenaPath(path), arenaAddress + STRUCT_AT, OpenHow.size);
}

/**
 * A copy of the mount that a path is on, with what the path leads to as its root; attached nowhere.
 * @throws SyscallError
 */
export function cloneMount(at: number, path: string, what: string): Fd {
  const fd = tryCloneMount(at, path);
  if (fd < 0) throw new SyscallError('open_tree', -fd, { resource: what });
  return new Fd(fd);
}

/** As {@link cloneMount}; returns a descriptor or -errno. */
export function tryCloneMount(at: number, path: string): number {
  const flags = OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | AT.NO_AUTOMOUNT | AT.SYMLINK_NOFOLLOW;
  return trySyscall('open_tree', at, arenaPath(path), path === '' ? flags | AT.EMPTY_PATH : flags);
}

/** Attaches a mount to what `to` leads to. @throws SyscallError */
export function attachMount(mount: LocalFd, to: LocalFd, what: string): void {
  const empty = arenaPath('');
  const done = trySyscall('move_mount', mount, empty, to, empty, MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH);
  if (done < 0) throw new SyscallError('move_mount', -done, { resource: what });
}

/** Puts a private mount where another mount of its file system is: in its peer group, among its slaves (since 5.15). */
export function joinMountGroup(from: LocalFd, to: LocalFd, what: string): void {
  const empty = arenaPath('');
  const flags = MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH | MOVE_MOUNT.SET_GROUP;
  const done = trySyscall('move_mount', from, empty, to, empty, flags);
  if (done < 0) throw new SyscallError('move_mount', -done, { resource: what });
}

/** What mount_setattr(2) changes. */
export interface MountChange {
  readonly set?: number;
  readonly clear?: number;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE. */
  readonly propagation?: number;
  readonly recursive?: boolean;
}

/** Changes attributes of a mount. @throws SyscallError */
export function changeMount(mount: LocalFd, change: MountChange, what: string): void {
  const { set = 0, clear = 0, propagation = 0, recursive = false } = change;
  const words = { set: BigInt(set), clear: BigInt(clear), propagation: BigInt(propagation) };
  MountAttr.encodeInto(arena, STRUCT_AT, words);
  const flags = AT.EMPTY_PATH | (recursive ? AT.RECURSIVE : 0);
  const done = trySyscall('mount_setattr', mount, arenaPath(''), flags, arenaAddress + STRUCT_AT, MountAttr.size);
  if (done < 0) throw new SyscallError('mount_setattr', -done, { resource: what });
}

/** An option of a file system; without a value it is a flag. */
export type FsOption = readonly [key: string, value: string | undefined];

/** Sets an option of a file system context (a flag, if it has no value). Returns 0 or -errno. */
export function trySetOption(context: LocalFd, [key, value]: FsOption): number {
  const name = arenaPath(key);
  return value === undefined
    ? trySyscall('fsconfig', context, FSCONFIG.SET_FLAG, name, 0, 0)
    : trySyscall('fsconfig', context, FSCONFIG.SET_STRING, name, arenaPath(value, 8192), 0);
}

/** Makes a mount, attached nowhere, of a file system that is configured and created. @throws SyscallError */
export function mountFileSystem(context: LocalFd, attributes: number): Fd {
  return new Fd(syscall('fsmount', context, FSMOUNT_CLOEXEC, attributes));
}

/** Makes a file system of a type, without options, and a mount of it, attached nowhere. @throws SyscallError */
export function mountNew(type: string): Fd {
  using context = new Fd(syscall('fsopen', arenaPath(type), FSOPEN_CLOEXEC));
  syscall('fsconfig', context.number, FSCONFIG.CMD_CREATE, 0, 0, 0);
  return mountFileSystem(context.number, 0);
}

/**
 * Makes a mount of a cgroup hierarchy, attached nowhere: of cgroup v2 if there are no names, otherwise of the v1
 * hierarchy with these controllers, or with this name (`name=systemd`). Its root is that of the cgroup namespace that
 * Stasis is in; a v1 hierarchy that does not exist is made. @throws SyscallError
 */
export function mountHierarchy(names: readonly string[]): Fd {
  using context = new Fd(syscall('fsopen', arenaPath(names.length === 0 ? 'cgroup2' : 'cgroup'), FSOPEN_CLOEXEC));
  for (const name of names) {
    const isName = name.startsWith('name=');
    const option: FsOption = isName ? ['name', name.slice('name='.length)] : [name, undefined];
    const done = trySetOption(context.number, option);
    if (done < 0) throw new SyscallError('fsconfig', -done, { resource: name });
  }
  syscall('fsconfig', context.number, FSCONFIG.CMD_CREATE, 0, 0, 0);
  return mountFileSystem(context.number, 0);
}

/** What the kernel says about the last failure of a file system context; empty if it says nothing. */
export function fileSystemComplaint(context: LocalFd): string {
  const said: string[] = [];
  for (let message = 0; message < 16; message++) {
    const length = trySyscall('read', context, arenaAddress, 4096);
    if (length <= 0) break;
    said.push(Buffer.from(arena.subarray(0, length)).toString('utf8').trim());
  }
  return said.join('; ');
}
