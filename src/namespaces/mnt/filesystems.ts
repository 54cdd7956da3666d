/** The types of file systems: which are mounted again, with which options, and what their contents need. Pure. */
import type { FsOption } from '../../kernel/mounts.ts';
import type { Mount } from './mount.ts';

/** How a file system that is mounted again gets its contents. `kernel`: from the kernel. `saved`: from an archive. */
interface FileSystem {
  readonly contents: 'kernel' | 'saved';
  /** Whether it has to be mounted by a process inside, since it belongs to a namespace of whoever mounts it. */
  readonly options?: (options: readonly FsOption[], mount: Mount) => readonly FsOption[];
}

/** Options that the kernel shows and does not take, or that depend on the machine. */
const NOT_TAKEN = new Set(['seclabel', 'inode64', 'inode32', 'namespace']);

/** A hierarchy with a name has no controllers, which has to be said. */
function ofHierarchy(options: readonly FsOption[]): readonly FsOption[] {
  const named = options.some(([key]) => key === 'name');
  return named ? [['none', undefined], ...options] : options;
}

const KERNEL: FileSystem = { contents: 'kernel' };

const FILE_SYSTEMS: Readonly<Record<string, FileSystem>> = {
  proc: KERNEL,
  sysfs: KERNEL,
  devtmpfs: KERNEL,
  binfmt_misc: KERNEL,
  tmpfs: { contents: 'saved' },
  devpts: KERNEL,
  pstore: KERNEL,
  mqueue: KERNEL,
  securityfs: KERNEL,
  fusectl: KERNEL,
  debugfs: KERNEL,
  tracefs: KERNEL,
  configfs: KERNEL,
  efivarfs: KERNEL,
  cgroup: { contents: 'kernel', options: ofHierarchy },
  cgroup2: KERNEL,
  overlay: KERNEL,
};

/** Whether a file system can be mounted again. `enabled`: `--enable-fs`. */
export function isRemade({ fsType }: Mount, enabled: readonly string[]): boolean {
  return FILE_SYSTEMS[fsType] !== undefined || enabled.includes(fsType) || enabled.includes('all');
}

/** Whether the contents of a file system are saved. */
export function isSaved({ fsType }: Mount): boolean {
  return FILE_SYSTEMS[fsType]?.contents === 'saved';
}

/** The options that a file system is mounted again with. */
export function optionsOf(mount: Mount): readonly FsOption[] {
  const given = mount.options
    .split(',')
    .filter((option) => option !== '' && !NOT_TAKEN.has(option))
    .map((option): FsOption => {
      const sign = option.indexOf('=');
      return sign < 0 ? [option, undefined] : [option.slice(0, sign), option.slice(sign + 1)];
    });
  return FILE_SYSTEMS[mount.fsType]?.options?.(given, mount) ?? given;
}

/**
 * Options of a file system with other users and groups, as `uid=` and `gid=` have them: the kernel tells and takes them
 * as its caller's user namespace sees them.
 */
export function withOtherIds(options: string, uid: (id: number) => number, gid: (id: number) => number): string {
  return options.replace(/(^|,)(uid|gid)=(\d+)/g, (_, before: string, key: string, id: string) => {
    return `${before}${key}=${(key === 'uid' ? uid : gid)(Number(id))}`;
  });
}
