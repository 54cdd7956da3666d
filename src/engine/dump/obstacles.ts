/** Merges obstacles: a socket that ten tasks have open is one obstacle, not ten. */
import type { StasisError, TaskRef } from '../../base/errors.ts';
import type { OpenFile } from '../../contract/contract.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { lookAtSockets, nameOf, objectOf } from './open-object.ts';

/** An obstacle as found in one task, and the open file it was found at. */
export interface Obstacle {
  readonly error: StasisError;
  readonly file?: OpenFile;
}

/** An obstacle with all tasks it concerns. */
interface Group {
  readonly error: StasisError;
  /** The open file it is, if it is one. */
  readonly file: OpenFile | undefined;
  /** By PID. */
  readonly holders: Map<number, { readonly task: TaskRef; readonly fds: number[] }>;
}

/** Merges obstacles with the same reason for the same object. Each result names all tasks that have the object. */
export function oneForEachObject(obstacles: readonly Obstacle[]): StasisError[] {
  const groups = grouped(obstacles);
  const sockets = lookAtSockets(groups.flatMap(({ file }) => file ?? []));
  return groups.map(({ error, file, holders }) => {
    const socket = file && sockets.get(file.stat.ino);
    return error.with({
      resource: file ? nameOf(file, socket) : error.resource,
      object: error.object ?? (file && objectOf(file, socket)),
      holders: holders.size === 0 ? undefined : [...holders.values()],
    });
  });
}

function grouped(obstacles: readonly Obstacle[]): Group[] {
  const groups = new Map<string, Group[]>();
  const all: Group[] = [];
  for (const { error, file: found } of obstacles) {
    // A kind may name another file than the one it was asked about, for example one in a message.
    const file = found && error.fd === found.fd ? found : undefined;
    const key = [error.code, error.reason, file ? identityOf(file) : error.resource].join('\n');
    const alike = groups.get(key) ?? [];
    let group = alike.find((other) => !file || !isAnonymous(file) || isSame(other.file, file));
    if (!group) {
      group = { error, file, holders: new Map() };
      groups.set(key, [...alike, group]);
      all.push(group);
    }
    addHolder(group, error);
  }
  return all;
}

function addHolder({ holders }: Group, { task, fd }: StasisError): void {
  if (!task) return;
  const holder = holders.get(task.pid) ?? { task, fds: [] };
  holders.set(task.pid, holder);
  if (fd !== undefined) holder.fds.push(fd);
}

function identityOf({ link, stat }: OpenFile): string {
  return `${link} ${stat.dev}:${stat.ino}`;
}

/** Whether all files of its kind have one inode (fs/anon_inodes.c): only the kernel can tell one from another. */
function isAnonymous({ link }: OpenFile): boolean {
  return link.startsWith('anon_inode:');
}

function isSame(one: OpenFile | undefined, other: OpenFile): boolean {
  if (!one) return false;
  if (one.local === other.local) return true;
  return trySyscall('kcmp', process.pid, process.pid, KCMP.FILE, one.local, other.local) === 0;
}
