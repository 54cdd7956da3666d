/**
 * Finds the locks of a tree that only a mapping keeps alive: /proc/locks lists them, but no descriptor's fdinfo does.
 */
import { hostPid } from '../../../base/brands.ts';
import type { SeenTask, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { PROT } from '../../../kernel/constants/memory.ts';
import { type FileLock, parseLocks } from '../../../kernel/proc/locks.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import type { ProcVma } from '../../../kernel/proc/smaps.ts';
import { type VmaName, vmaName } from '../../../kernel/proc/vmaname.ts';
import { ERRNO, trySyscall } from '../../../kernel/syscall.ts';
import { locksOf } from './shown.ts';

/** A lock, and a mapping of a task that keeps it alive. */
export interface LockedMapping {
  readonly lock: FileLock;
  readonly vma: ProcVma;
}

/** The locks that mappings of this task keep alive. Each lock is reported for one task of the tree only. */
export function lockedMappings(task: SeenTask): LockedMapping[] {
  return UNSHOWN.of(task.tree).flatMap((lock) => {
    const keeper = keeperOf(lock, task.tree.tasks);
    return keeper?.task.pid === task.pid ? [{ lock, vma: keeper.vma }] : [];
  });
}

/** Locks that no descriptor of the tree shows, taken by a task of the tree or by a process that is gone. */
const UNSHOWN = new Slot(({ tasks }: SeenTree): readonly FileLock[] => {
  // A look at /proc/locks takes some milliseconds, for which a frozen tree would stand still: before it begins, the
  // kernel waits until all processors have come by (percpu_down_write() in locks_start()).
  if (!tasks.some(mapsFiles)) return [];
  const pids = new Set(tasks.map(({ pid }) => pid));
  const all = parseLocks(readSystem('/proc/locks')).filter(
    ({ kind, blocked, pid }) => kind === 'FLOCK' && !blocked && (pids.has(hostPid(pid)) || isGone(pid)),
  );
  if (all.length === 0) return all;
  const inodes = new Set(all.map(({ ino }) => Number(ino)));
  const shown = new Set(
    tasks.flatMap(({ fds }) =>
      fds.filter(({ stat }) => inodes.has(stat.ino)).flatMap((file) => locksOf(file).map(keyOf)),
    ),
  );
  return all.filter((lock) => !shown.has(keyOf(lock)));
});

/** Mappings whose files no program has ever had a descriptor of. */
const WITHOUT_DESCRIPTOR: readonly VmaName['kind'][] = ['anonShmem', 'anonHuge', 'sysv', 'aio'];

/**
 * Whether a task maps files that it may have opened itself, unlike its program and libraries: the kernel and the
 * dynamic linker have opened these, and locked none. So a lock on a library that a program has mapped by a descriptor
 * of its own, has locked, and has closed, is not looked for where nothing else is mapped (docs/kernel.md).
 */
function mapsFiles({ vmas, stat }: SeenTask): boolean {
  const code = Number(stat.startCode);
  const isProgram = ({ prot, shared, start, end, name }: ProcVma): boolean =>
    (prot & PROT.EXEC) !== 0 && !shared && (LIBRARY.test(name) || (start <= code && code < end));
  const files = vmas.filter(({ ino }) => ino !== 0n);
  const programs = new Set(files.filter(isProgram).map(({ ino }) => ino));
  return files.some(({ ino, name }) => !programs.has(ino) && !WITHOUT_DESCRIPTOR.includes(vmaName(name).kind));
}

/** `libc.so.6`, `ld-linux-x86-64.so.2`; also when it was replaced by an update meanwhile. */
const LIBRARY = /\.so(\.[^/]*)?( \(deleted\))?$/;

const isGone = (pid: number): boolean => pid > 0 && trySyscall('kill', pid, 0) === -ERRNO.ESRCH;

const keyOf = ({ kind, type, pid, devMajor, devMinor, ino }: FileLock): string =>
  `${kind} ${type} ${pid} ${devMajor}:${devMinor}:${ino}`;

/** A task that has the file mapped: the one that took the lock, if it has, else the first. */
function keeperOf(lock: FileLock, tasks: readonly SeenTask[]): { task: SeenTask; vma: ProcVma } | undefined {
  const all = tasks.flatMap((task) => {
    const vma = task.vmas.find(
      ({ ino, devMajor, devMinor }) => ino === lock.ino && devMajor === lock.devMajor && devMinor === lock.devMinor,
    );
    return vma ? [{ task, vma }] : [];
  });
  return all.find(({ task }) => task.pid === lock.pid) ?? all[0];
}
