/**
 * Files that a task uses without a descriptor: working directory, root, executable, mapped files. They are examined
 * like open files, so that obstacles are known before the freeze.
 */
import type { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import type { SeenTask, SeenTree } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { vmaName } from '../../kernel/proc/vmaname.ts';
import { statusAt } from '../../kernel/statx.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { SEEN_NAMESPACES } from '../../namespaces/seen.ts';
import { kindOf } from './file-table.ts';
import { keyOfPath } from './key-of-path.ts';
import { openPath } from './snapshot.ts';

// Only for a tree that cannot be carried.
const REFUSING = new Part(() => require('./unsupported-file.ts') as typeof import('./unsupported-file.ts'));

const LINKS = [
  ['cwd', 'working directory'],
  ['root', 'root directory'],
  ['exe', 'executable'],
] as const;

/** The mapped files examined so far, name and inode, since the tasks of a tree share most of them. */
const LOOKED_AT = new Slot((_: SeenTree) => new Map<string, bigint>());

/** The directories and executables examined so far that are no obstacle: most tasks of a tree have the same ones. */
const CLEAR = new Slot((_: SeenTree) => new Set<string>());

/** The obstacles of these files. */
export function reachedObstacles(task: SeenTask): StasisError[] {
  const links = LINKS.flatMap(([name, role]) => obstacle(task, `/proc/${task.pid}/${name}`, role));
  return [...links, ...mappedFiles(task).flatMap((vma) => mappedObstacle(task, vma))];
}

/** For each mapped file that was not examined yet, one of its mappings. */
function mappedFiles(task: SeenTask): ProcVma[] {
  const known = LOOKED_AT.of(task.tree);
  const doubtful: ProcVma[] = [];
  const isOurs = SEEN_NAMESPACES.of(task.tree).of(task.pid, 'mnt')?.ours ?? true;
  for (const vma of task.vmas) {
    // The memory kind reports device memory.
    if (vma.ino === 0n || !vma.name.startsWith('/') || vma.vmFlags?.has('io') || vma.vmFlags?.has('pf')) continue;
    if (known.get(vma.name) === vma.ino) continue;
    known.set(vma.name, vma.ino);
    if (vmaName(vma.name).kind !== 'file') continue;
    if (isOurs && statusAt(vma.name)?.ino === Number(vma.ino)) continue;
    doubtful.push(vma);
  }
  return doubtful;
}

function mappedObstacle(task: SeenTask, { start, end }: ProcVma): StasisError[] {
  const range = `${start.toString(16)}-${end.toString(16)}`;
  return obstacle(task, `/proc/${task.pid}/map_files/${range}`, `mapping ${range}`);
}

/**
 * The obstacle of the file that a link in /proc leads to, if there is one. A link that has vanished meanwhile has none.
 */
function obstacle(task: SeenTask, link: string, role: string): StasisError[] {
  const clear = CLEAR.of(task.tree);
  const key = keyOfPath(link);
  if (key !== undefined && clear.has(key)) return [];
  let file: ReturnType<typeof openPath>;
  try {
    file = openPath(task.ref, link, 0);
  } catch (error) {
    if (error instanceof SyscallError) return [];
    throw error;
  }
  try {
    const kind = kindOf(file);
    const error = kind ? kind.obstacle?.(file, task) : REFUSING.load().unsupportedFile(file);
    if (!error) {
      if (key !== undefined) clear.add(key);
      return [];
    }
    return [error.with({ task: task.ref, resource: `${role} ${error.resource ?? ''}`.trim() })];
  } finally {
    trySyscall('close', file.local);
  }
}
