/** The mounts of a mount namespace that Stasis has entered. */
import type { SeenTree } from '../contract/contract.ts';
import { KeyedSlot } from '../contract/slots.ts';
import { O } from '../kernel/constants/files.ts';
import { tryRead } from '../kernel/files.ts';
import { type MountInfo, parseMountInfo } from '../kernel/proc/mountinfo.ts';
import { arenaPath, Fd, SyscallError, syscall } from '../kernel/syscall.ts';
import { procOfOurs } from './inside.ts';

/**
 * All mounts of the mount namespace that Stasis is in. The mountinfo of another process shows only what is below its
 * root directory.
 */
function mountsHere(): MountInfo[] {
  using file = new Fd(syscall('openat', procOfOurs(), arenaPath('self/mountinfo'), O.RDONLY | O.CLOEXEC, 0));
  let bytes = new Uint8Array(64 * 1024);
  for (let length = 0; ; bytes = doubled(bytes)) {
    const got = tryRead(file.number, bytes.subarray(length));
    if (got < 0) throw new SyscallError('read', -got, { resource: '/proc/self/mountinfo' });
    length += got;
    if (length < bytes.length) return parseMountInfo(bytes.subarray(0, length));
  }
}

/** The same of the mount namespace with this inode number, which Stasis is in when they are first asked for. */
export const MOUNT_INFOS = new KeyedSlot((_: SeenTree, _ino: number): readonly MountInfo[] => mountsHere());

function doubled(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const more = new Uint8Array(bytes.length * 2);
  more.set(bytes);
  return more;
}
