/** Files by their handles: name_to_handle_at(2) and open_by_handle_at(2). */
import type { LocalFd } from '../base/brands.ts';
import { AT, O } from './constants/files.ts';
import { arenaAddress, arenaPath, arenaView, trySyscall } from './syscall.ts';

/** The longest handle (MAX_HANDLE_SZ in <linux/exportfs.h>). */
const LONGEST = 128;

/**
 * Opens, by way of a directory of another mount of the same file system, the file behind a descriptor: as O_PATH. The
 * directory may not be open as O_PATH. It takes CAP_DAC_READ_SEARCH in the first user namespace. Returns a descriptor
 * or -errno.
 */
export function tryOpenElsewhere(file: LocalFd, directory: LocalFd): number {
  // struct file_handle, and behind it the mount ID.
  const mountId = arenaAddress + 8 + LONGEST;
  const empty = arenaPath('', 4096);
  arenaView.setUint32(0, LONGEST, true);
  const named = trySyscall('name_to_handle_at', file, empty, arenaAddress, mountId, AT.EMPTY_PATH);
  if (named < 0) return named;
  return trySyscall('open_by_handle_at', directory, arenaAddress, O.PATH | O.CLOEXEC);
}
