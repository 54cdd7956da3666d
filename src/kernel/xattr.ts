/** Extended attributes of files, by path. */
import { decodeText } from '../base/text.ts';
import { arenaPath, ERRNO, SyscallError, trySyscall } from './syscall.ts';

/** XATTR_LIST_MAX and XATTR_SIZE_MAX, in bytes. */
const MOST = 65536;

/** The extended attributes of a file; none where there are none. @throws SyscallError */
export function xattrsOf(path: string): (readonly [name: string, value: Uint8Array])[] {
  const length = trySyscall('listxattr', arenaPath(path), 0, 0);
  if (length === 0 || length === -ERRNO.EOPNOTSUPP) return [];
  if (length < 0) throw new SyscallError('listxattr', -length, { resource: path });
  const names = new Uint8Array(MOST);
  const got = trySyscall('listxattr', arenaPath(path), names, MOST);
  if (got < 0) throw new SyscallError('listxattr', -got, { resource: path });
  const all = decodeText(names.subarray(0, got)).split('\u0000');
  return all.flatMap((name) => {
    if (name === '') return [];
    const value = new Uint8Array(MOST);
    const size = trySyscall('getxattr', arenaPath(path), arenaPath(name, 8192), value, MOST);
    return size < 0 ? [] : [[name, value.slice(0, size)] as const];
  });
}

/** Sets an extended attribute of a file, not following a symbolic link. Returns 0 or -errno. */
export function trySetXattr(path: string, name: string, value: Uint8Array): number {
  const bytes = value.length > 0 ? value : new Uint8Array(1);
  return trySyscall('lsetxattr', arenaPath(path), arenaPath(name, 8192), bytes, value.length, 0);
}
