/**
 * Cgroup hierarchies, accessed through detached mounts of our own, since a hierarchy may not be mounted anywhere, or
 * not where we can see it. Such a mount exists as long as its descriptor.
 */

import { StasisError } from '../../../base/errors.ts';
import { decodeText } from '../../../base/text.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { namesIn, openFile, tryOpen, tryRead, trySet } from '../../../kernel/files.ts';
import { mountHierarchy } from '../../../kernel/mounts.ts';
import { nap } from '../../../kernel/nap.ts';
import { type FileStatus, followedStatus } from '../../../kernel/statx.ts';
import { arenaPath, describeErrno, ERRNO, Fd, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
import { namesOf } from './sets.ts';

/**
 * Mounts a hierarchy, named as in /proc/PID/cgroup; a v1 hierarchy that does not exist is made.
 *
 * @throws StasisError (conflict) when that is not possible on this machine
 */
function mount(hierarchy: string): Fd {
  try {
    return mountHierarchy(hierarchy === '' ? [] : namesOf(hierarchy));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new StasisError({
      kind: 'conflict',
      code: 'CGROUP_HIERARCHY',
      resource: label(hierarchy, ''),
      reason: `this hierarchy is not to be had here: ${error.reason}`,
      remedy: LEAVE_ALONE,
      cause: error,
    });
  }
}

/**
 * A hierarchy in a yard, a directory of mounts named by their controllers or their name, `unified` for cgroup v2;
 * undefined if there is none.
 *
 * @throws StasisError (usage) when something else is there
 */
function openMounted(hierarchy: string, yard: string): Fd | undefined {
  const names = namesOf(hierarchy).map((name) => (name.startsWith('name=') ? name.slice('name='.length) : name));
  const path = `${yard}/${hierarchy === '' ? 'unified' : names.join(',')}`;
  if (!followedStatus(path)) return undefined;
  if (followedStatus(`${path}/cgroup.procs`)) return openFile(path, O.RDONLY | O.DIRECTORY);
  const reason = `${label(hierarchy, '')} is not mounted there`;
  throw new StasisError({ kind: 'usage', resource: path, reason, remedy: 'mount it, or leave out --cgroup-yard' });
}

/** How often the removal of a busy cgroup is repeated, and the nanoseconds in between. */
const REMOVALS = 100;
const REMOVAL_PAUSE = 5_000_000;

/** The remedy for all errors with cgroups. */
export const LEAVE_ALONE = '--manage-cgroups=ignore leaves cgroups alone';

/** The name of a cgroup in texts for users. */
export function label(hierarchy: string, path: string): string {
  return `cgroup ${hierarchy === '' ? 'v2' : hierarchy}${path === '' ? '' : `:${path}`}`;
}

/** A mounted hierarchy. Paths are absolute within it. */
class Hierarchy implements Disposable {
  readonly name: string;
  readonly #mount: Fd;

  constructor(name: string, yard: string | undefined) {
    this.name = name;
    this.#mount = (yard === undefined ? undefined : openMounted(name, yard)) ?? mount(name);
  }

  /** A path that leads to a cgroup or a control file. */
  at(path: string, file = ''): string {
    return `/proc/self/fd/${this.#mount.number}${path}${file === '' ? '' : `/${file}`}`;
  }

  /** Undefined if there is no such cgroup or control file. */
  status(path: string, file?: string): FileStatus | undefined {
    return followedStatus(this.at(path, file));
  }

  /** The names in a cgroup; none if it was just removed, which other processes may do at any time. */
  names(path: string): string[] {
    try {
      return namesIn(this.at(path));
    } catch (error) {
      if (error instanceof SyscallError && isGone(error.errno)) return [];
      throw error;
    }
  }

  /** The content of a control file; undefined if it is gone or has none. @throws SyscallError */
  read(path: string, file: string): string | undefined {
    const opened = tryOpen(this.at(path, file), O.RDONLY);
    if (opened < 0) {
      if (isGone(-opened)) return undefined;
      throw new SyscallError('openat', -opened, { resource: `${label(this.name, path)}/${file}` });
    }
    using fd = new Fd(opened);
    let bytes = new Uint8Array(4096);
    for (let length = 0; ; ) {
      const got = tryRead(fd.number, bytes.subarray(length));
      if (got < 0 && isGone(-got)) return undefined;
      if (got < 0) throw new SyscallError('read', -got, { resource: `${label(this.name, path)}/${file}` });
      length += got;
      if (length < bytes.length) return decodeText(bytes.subarray(0, length));
      const more = new Uint8Array(2 * length);
      more.set(bytes);
      bytes = more;
    }
  }

  /** Writes to a control file. Returns 0 or -errno. */
  write(path: string, file: string, text: string): number {
    return trySet(this.at(path, file), text);
  }

  /** @throws StasisError when the kernel makes no such cgroup */
  make(path: string): void {
    const result = trySyscall('mkdirat', AT.FDCWD, arenaPath(this.at(path)), 0o755);
    if (result < 0) throw refused(this.name, path, 'cannot be made', -result);
  }

  /** Owner and mode of a cgroup or control file. @throws StasisError */
  own(path: string, file: string, uid: number, gid: number, mode: number): void {
    const target = this.at(path, file);
    let result = trySyscall('fchownat', AT.FDCWD, arenaPath(target), uid, gid, 0);
    if (result === 0) result = trySyscall('fchmodat', AT.FDCWD, arenaPath(target), mode & 0o7777);
    if (result < 0) throw refused(this.name, path, `cannot have the owner ${uid}:${gid} and its mode`, -result);
  }

  /**
   * Removes a cgroup. One that is busy is tried again for a while: on a busy machine the tasks of a restore that failed
   * were seen in it for a moment longer than there was anything to wait for.
   * @throws StasisError, which names those who are in it
   */
  remove(path: string): void {
    for (let turn = 0; ; turn++) {
      const result = trySyscall('unlinkat', AT.FDCWD, arenaPath(this.at(path)), AT.REMOVEDIR);
      if (result >= 0) return;
      if (result !== -ERRNO.EBUSY) throw refused(this.name, path, 'cannot be removed', -result);
      if (turn === REMOVALS) {
        const inside = this.read(path, 'cgroup.procs')?.trim().split('\n').join(', ') ?? '';
        throw refused(this.name, path, `cannot be removed, processes in it: ${inside || 'none'}`, -result);
      }
      nap(REMOVAL_PAUSE);
    }
  }

  [Symbol.dispose](): void {
    this.#mount[Symbol.dispose]();
  }
}

export type { Hierarchy };

/** Whether an error means that the cgroup was removed, or that the kernel does not support the control file. */
function isGone(errno: number): boolean {
  return errno === ERRNO.ENOENT || errno === ERRNO.ENODEV || errno === ERRNO.EOPNOTSUPP;
}

/** The error for an operation on a cgroup that the kernel refuses. */
export function refused(hierarchy: string, path: string, what: string, errno: number): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'CGROUP_HIERARCHY',
    resource: label(hierarchy, path),
    reason: `${what}: ${describeErrno(errno)}`,
    remedy: LEAVE_ALONE,
  });
}

/**
 * The hierarchies in use, each mounted when first needed; those that are mounted in a yard (`--cgroup-yard`) are used
 * there.
 */
export class Hierarchies implements Disposable {
  readonly #mounted = new Map<string, Hierarchy>();
  readonly #yard: string | undefined;

  constructor(yard: string | undefined) {
    this.#yard = yard;
  }

  /** @throws StasisError (conflict) when it cannot be mounted */
  get(name: string): Hierarchy {
    const known = this.#mounted.get(name);
    if (known) return known;
    const hierarchy = new Hierarchy(name, this.#yard);
    this.#mounted.set(name, hierarchy);
    return hierarchy;
  }

  [Symbol.dispose](): void {
    for (const hierarchy of this.#mounted.values()) hierarchy[Symbol.dispose]();
    this.#mounted.clear();
  }
}
