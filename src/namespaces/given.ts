/**
 * Namespaces that somebody else makes and fills: at the dump the user names them (`--external net[INODE]:NAME`,
 * `pid[INODE]:NAME`), and at the restore gives them by that name (`--inherit-fd fd[N]:NAME`); or the user has the tree
 * restored into others than its own (`--join-ns TYPE:PID` or `TYPE:FILE`).
 */

import { StasisError } from '../base/errors.ts';
import type { NamespaceName, RestoreContext } from '../contract/contract.ts';
import { Images } from '../images/kinds.ts';
import type { NamespaceIds } from '../images/namespace-ids.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { NS_GET } from '../kernel/constants/namespaces.ts';
import { duplicate } from '../kernel/files.ts';
import { arenaPath, describeErrno, Fd, trySyscall } from '../kernel/syscall.ts';
import { inheritedFd } from '../support/inherited.ts';
import { emptyNamespaces } from './empty.ts';
import { inside, NAMESPACE_FLAGS } from './inside.ts';
import { MADE_NAMESPACES } from './made.ts';
import { GIVEN_PLACE, openPlace } from './places.ts';

/** The types that a tree can be restored into. CRIU refuses PID namespaces. */
const JOINABLE: readonly string[] = ['net', 'ipc', 'uts', 'time', 'mnt', 'pid'] satisfies NamespaceName[];

/**
 * Enters the namespaces that are given into the table of those made. `root` are the IDs of those of the tree's root,
 * which are the ones that it is restored into; `tasks` are those of all its processes.
 * @throws StasisError for one that is missing, or cannot be opened
 */
export function takeGiven(context: RestoreContext, root: NamespaceIds, tasks: readonly NamespaceIds[]): void {
  for (const { type, target } of context.options.joinNamespaces) {
    const name = joinable(type, target);
    if (MADE_NAMESPACES.of(context).get(name, root[name])) throw refused(type, target, 'it is given twice');
    const all = new Set(tasks.map((of) => of[name]));
    if (name === 'mnt' && all.size > 1) throw refused(type, target, 'the tree was in several mount namespaces');
    if (name === 'pid' && context.root === 1) {
      throw refused(type, target, 'the root of the tree has to be PID 1, which a namespace that exists has already');
    }
    const fd = openTarget(name, target);
    if (name === 'mnt') beginPathsIn(context, fd);
    add(context, name, root[name], fd);
  }
  const networks = [...tasks.map(({ net }) => net), ...emptyNamespaces(context, 'net')];
  for (const id of new Set(networks)) takeExternal(context, 'net', id);
  takeExternal(context, 'pid', root.pid);
}

/** Has the paths of a tree begin at the root of a mount namespace. */
function beginPathsIn(context: RestoreContext, namespace: Fd): void {
  const root = inside('mnt', namespace.number, () => openPlace('/'));
  context.atEnd(() => void trySyscall('close', root));
  GIVEN_PLACE.of(context).place = { root, prefix: '/' };
}

/** Takes a namespace that was an external one at the dump. */
function takeExternal(context: RestoreContext, name: 'net' | 'pid', id: number): void {
  if (MADE_NAMESPACES.of(context).get(name, id)) return;
  const key = externalKey(context, name, id);
  if (key === undefined) return;
  const given = inheritedFd(context, key);
  const resource = `${name} namespace ${key}`;
  if (given === undefined) {
    throw new StasisError({
      kind: 'usage',
      code: 'NAMESPACE_EXTERNAL',
      resource,
      reason: 'it was left to the user when the tree was dumped',
      remedy: `--inherit-fd 'fd[N]:${key}', with a descriptor for it (/proc/PID/ns/${name}) as number N`,
    });
  }
  const fd = duplicate(given);
  requireType(fd, name, resource);
  add(context, name, id, fd);
}

/** The name that images have for an external namespace. */
function externalKey({ images }: RestoreContext, name: 'net' | 'pid', id: number): string | undefined {
  const [entry] = name === 'net' ? images.read(Images.netns, id) : images.read(Images.pidns, id);
  return entry?.ext_key;
}

function add(context: RestoreContext, name: NamespaceName, id: number, fd: Fd): void {
  MADE_NAMESPACES.of(context).add({ name, id, fd: fd.release(), isGiven: true });
}

function joinable(type: string, target: string): NamespaceName {
  if (JOINABLE.includes(type)) return type as NamespaceName; // all of them are
  throw refused(type, target, `namespaces of this type cannot be joined yet, only ${JOINABLE.join(', ')}`);
}

/** Opens the namespace of a process, or behind a file. */
function openTarget(name: NamespaceName, target: string): Fd {
  const path = /^\d+$/.test(target) ? `/proc/${target}/ns/${name}` : target;
  const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC, 0);
  if (opened < 0) throw refused(name, target, `${path} cannot be opened: ${describeErrno(-opened)}`);
  const fd = new Fd(opened);
  requireType(fd, name, `--join-ns ${name}:${target}`);
  return fd;
}

function requireType(fd: Fd, name: NamespaceName, resource: string): void {
  const type = trySyscall('ioctl', fd.number, NS_GET.NSTYPE, 0);
  if (BigInt(type) === NAMESPACE_FLAGS[name]) return;
  fd[Symbol.dispose]();
  throw new StasisError({
    kind: 'usage',
    code: 'NAMESPACE_EXTERNAL',
    resource,
    reason: `this is no ${name} namespace`,
  });
}

function refused(type: string, target: string, reason: string): StasisError {
  return new StasisError({
    kind: 'usage',
    code: 'NAMESPACE_EXTERNAL',
    resource: `--join-ns ${type}:${target}`,
    reason,
  });
}
