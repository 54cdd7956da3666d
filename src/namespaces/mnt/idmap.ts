/** Mounts that show their files with other owners (MOUNT_ATTR_IDMAP): each has the maps of a user namespace. */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { encodeText } from '../../base/text.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { MOUNT_ATTR } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { openFile, tryWrite } from '../../kernel/files.ts';
import { MountAttr } from '../../kernel/layouts/mounts.ts';
import type { IdRange } from '../../kernel/proc/namespaces.ts';
import type { MountIdMap } from '../../kernel/statmount.ts';
import {
  arena,
  arenaAddress,
  arenaPath,
  describeErrno,
  type Fd,
  SyscallError,
  trySyscall,
} from '../../kernel/syscall.ts';
import { Batch } from '../../tracee/batch.ts';
import { Seed } from '../../tracee/seed.ts';
import { openNamespace } from '../inside.ts';
import { type Mount, nameOf } from './mount.ts';

/** A user namespace with these maps, which nobody is in. To be called outside of the tree's mount namespaces. */
export function makeMappedUsers({ uids, gids }: MountIdMap): Fd {
  using seed = Seed.anywhere();
  const batch = new Batch(seed.remote);
  batch.call('unshare', CLONE.NEWUSER);
  batch.flush();
  const { pid } = seed.tracee;
  for (const [name, map] of [['uid_map', uids] as const, ['gid_map', gids] as const]) {
    using file = openFile(`/proc/${pid}/${name}`, O.WRONLY);
    const done = tryWrite(file.number, encodeText(textOf(map)));
    if (done < 0) throw new SyscallError('write', -done, { resource: `/proc/${pid}/${name}, for a mount` });
  }
  return openNamespace(pid, 'user');
}

function textOf(map: readonly IdRange[]): string {
  return map.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('');
}

/** Gives a mount that is attached nowhere the maps of a user namespace. @throws StasisError */
export function mapOwners(made: LocalFd, users: LocalFd, mount: Mount): void {
  const at = 32 * 1024;
  const set = BigInt(MOUNT_ATTR.IDMAP);
  MountAttr.encodeInto(arena, at, { set, usernsFd: BigInt(users) });
  const done = trySyscall('mount_setattr', made, arenaPath(''), AT.EMPTY_PATH, arenaAddress + at, MountAttr.size);
  if (done === 0) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'MOUNT_REFUSED',
    resource: nameOf(mount),
    reason: `the owners of its files cannot be shown as others, as they were: ${describeErrno(-done)}`,
    remedy: 'restore it on a file system that can be mounted so',
  });
}
