/** Mounts whose root was removed: it is made again, mounted, and removed. */
import type { LocalFd } from '../../base/brands.ts';
import { AT, O, S_IF } from '../../kernel/constants/files.ts';
import { tryOpenInRoot, tryOpenOnMount } from '../../kernel/mounts.ts';
import { arenaPath, ERRNO, Fd, SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { type Mount, nameOf } from './mount.ts';

/**
 * Calls `work` with a descriptor of a file or directory that is at a path of a mount only meanwhile. If the name is
 * taken, another one next to it is used.
 */
export function withRemovedRoot<T>(
  on: LocalFd,
  path: string,
  isDirectory: boolean,
  mount: Mount,
  work: (root: LocalFd) => T,
): T {
  const slash = path.lastIndexOf('/');
  const above = path.slice(0, Math.max(slash, 0));
  using directory = above === '' ? undefined : openAbove(on, above, mount);
  const at = directory?.number ?? on;
  for (let attempt = 0; ; attempt++) {
    const name = `${path.slice(slash + 1)}${attempt === 0 ? '' : `.${attempt}`}`;
    const made = isDirectory
      ? trySyscall('mkdirat', at, arenaPath(name), 0o755)
      : trySyscall('mknodat', at, arenaPath(name), S_IF.REG | 0o600, 0);
    if (made === -ERRNO.EEXIST && attempt < 1000) continue;
    if (made < 0) throw new SyscallError(isDirectory ? 'mkdirat' : 'mknodat', -made, { resource: nameOf(mount) });
    try {
      const opened = tryOpenOnMount(at, name);
      if (opened < 0) throw new SyscallError('openat2', -opened, { resource: nameOf(mount) });
      using root = new Fd(opened);
      return work(root.number);
    } finally {
      trySyscall('unlinkat', at, arenaPath(name), isDirectory ? AT.REMOVEDIR : 0);
    }
  }
}

function openAbove(on: LocalFd, path: string, mount: Mount): Fd {
  const opened = tryOpenInRoot(on, path, O.PATH | O.DIRECTORY);
  if (opened < 0) throw new SyscallError('openat2', -opened, { resource: `${nameOf(mount)}, ${path}` });
  return new Fd(opened);
}
