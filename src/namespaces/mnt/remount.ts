/**
 * File systems that are mounted again. Which namespaces a file system belongs to (the PIDs that proc shows, the queues
 * of mqueue, the devices of sysfs) is decided by fsopen(2), so the first member of the mount namespace makes that call.
 * All others are made by Stasis, with that descriptor.
 */
import { StasisError } from '../../base/errors.ts';
import { cstring } from '../../base/text.ts';
import type { CarryOptions, RestoreContext, RestoreTask } from '../../contract/contract.ts';
import { FSCONFIG, FSOPEN_CLOEXEC, MS } from '../../kernel/constants/mounts.ts';
import { type FsOption, fileSystemComplaint, mountFileSystem, trySetOption } from '../../kernel/mounts.ts';
import { borrow, openPidfd } from '../../kernel/pidfd.ts';
import { describeErrno, Fd, trySyscall } from '../../kernel/syscall.ts';
import { optionsOf, withOtherIds } from './filesystems.ts';
import { type Mount, nameOf } from './mount.ts';
import type { Base } from './plan.ts';

/** A file system that was mounted again. */
export interface Remounted {
  readonly mount: Mount;
  readonly context: Fd;
}

/** Has a process open a context for each of some file systems. Returns them as descriptors of ours. */
export function openContexts(bases: readonly Base[], maker: Pick<RestoreTask, 'batch' | 'tracee'>): Fd[] {
  const { batch, tracee } = maker;
  if (bases.length === 0) return [];
  batch.flush();
  using pidfd = openPidfd(tracee.pid);
  return bases.map(({ mount }) => {
    const type = cstring(mount.fsType.replace(/\..*$/, ''));
    const program = batch.reserve(1, type.length + 8);
    const opened = program.attempt('fsopen', program.data(type), FSOPEN_CLOEXEC);
    batch.flush();
    const number = program.result(opened);
    if (number < 0) throw refused(mount, 'cannot be mounted', -number);
    const fd = new Fd(borrow(pidfd, number));
    batch.call('close', number);
    batch.flush();
    return fd;
  });
}

/** Makes a file system and a mount of it, attached nowhere. @throws StasisError naming the mount */
export function mountAgain(base: Base, context: Fd, { options, ids }: RestoreContext): Fd {
  const there = base.mount;
  const mount = {
    ...there,
    options: withOtherIds(
      there.options,
      (uid) => ids.uidHere(uid),
      (gid) => ids.gidHere(gid),
    ),
  };
  const source = base.origin?.kind === 'device' ? devicePath(mount, base.origin.key, options) : mount.source;
  if (source !== '') setOption(mount, context, ['source', source]);
  for (const option of optionsOf(mount)) setOption(mount, context, option);
  for (const [name, flag] of FLAGS) if ((mount.superFlags & flag) !== 0) setOption(mount, context, [name, undefined]);
  const created = trySyscall('fsconfig', context.number, FSCONFIG.CMD_CREATE, 0, 0, 0);
  if (created < 0) throw refused(mount, 'cannot be mounted', -created, fileSystemComplaint(context.number));
  return mountFileSystem(context.number, 0);
}

/** Flags of a file system that are set when it is made; whether it is read-only is set last. */
const FLAGS = [
  ['sync', MS.SYNCHRONOUS],
  ['dirsync', MS.DIRSYNC],
  ['lazytime', MS.LAZYTIME],
] as const;

/** Makes a file system read-only that was mounted again. @throws StasisError naming the mount */
export function makeReadOnly({ mount, context }: Remounted): void {
  setOption(mount, context, ['ro', undefined]);
  const done = trySyscall('fsconfig', context.number, FSCONFIG.CMD_RECONFIGURE, 0, 0, 0);
  if (done < 0) throw refused(mount, 'cannot be made read-only', -done, fileSystemComplaint(context.number));
}

function setOption(mount: Mount, context: Fd, option: FsOption): void {
  const done = trySetOption(context.number, option);
  if (done === 0) return;
  const [key, value] = option;
  const text = value === undefined ? key : `${key}=${value}`;
  throw refused(mount, `option ${text} is not taken`, -done, fileSystemComplaint(context.number));
}

/** The device that the user gives: `--external dev[NAME]:PATH`. */
function devicePath(mount: Mount, key: string, { external }: CarryOptions): string {
  const prefix = `dev[${key}]:`;
  const found = external.find((text) => text.startsWith(prefix));
  if (found !== undefined) return found.slice(prefix.length);
  throw new StasisError({
    kind: 'usage',
    code: 'MOUNT_SOURCE',
    resource: nameOf(mount),
    reason: 'its device was left to the user when it was dumped',
    remedy: `--external dev[${key}]:PATH`,
  });
}

function refused(mount: Mount, what: string, errno: number, complaint = ''): StasisError {
  const said = complaint === '' ? '' : ` (${complaint})`;
  return new StasisError({
    kind: 'conflict',
    code: 'MOUNT_REFUSED',
    resource: `${nameOf(mount)}, type ${mount.fsType}`,
    reason: `the file system ${what}: ${describeErrno(errno)}${said}`,
    remedy: `--external mnt[${mount.mountPoint}]:NAME at the dump`,
  });
}
