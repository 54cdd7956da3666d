/**
 * Namespaces that somebody else makes and fills: at the dump the user names them (`--external net[INODE]:NAME`,
 * `pid[INODE]:NAME`), and at the restore gives them by that name (`--inherit-fd fd[N]:NAME`); or the user has the tree
 * restored into others than its own (`--join-ns TYPE:PID` or `TYPE:FILE`).
 */
import { StasisError } from '../base/errors.ts';
import type { CarryOptions, NamespaceName, RestoreContext, SeenNamespace } from '../contract/contract.ts';
import { Images } from '../images/kinds.ts';
import type { NamespaceIds } from '../images/namespace-ids.ts';
import { AT, F, O } from '../kernel/constants/files.ts';
import { NS_GET } from '../kernel/constants/namespaces.ts';
import { arenaPath, describeErrno, Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { inheritedFd } from '../support/inherited.ts';
import { NAMESPACE_FLAGS } from './inside.ts';
import { MADE_NAMESPACES } from './made.ts';

/** The name that the user has for a namespace at a dump; undefined if it is not an external one. */
export function externalName({ name, ino }: SeenNamespace, { external }: CarryOptions): string | undefined {
  const prefix = `${name}[${ino}]:`;
  return external.find((key) => key.startsWith(prefix) && key.length > prefix.length)?.slice(prefix.length);
}

/** The types that a tree can be restored into. CRIU refuses PID namespaces, too. */
const JOINABLE: readonly string[] = ['net', 'ipc', 'uts', 'time'] satisfies NamespaceName[];

/**
 * Enters the namespaces that are given into the table of those made. `root` are the IDs of those of the tree's root,
 * which are the ones that it is restored into; `all` are those of all its processes.
 * @throws StasisError for one that is missing, or cannot be opened
 */
export function takeGiven(context: RestoreContext, root: NamespaceIds, all: readonly NamespaceIds[]): void {
  for (const { type, target } of context.options.joinNamespaces) {
    const name = joinable(type, target);
    if (MADE_NAMESPACES.of(context).get(name, root[name])) throw refused(type, target, 'it is given twice');
    add(context, name, root[name], openTarget(name, target));
  }
  for (const id of new Set(all.map(({ net }) => net))) takeExternal(context, 'net', id);
  takeExternal(context, 'pid', root.pid);
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
  const fd = new Fd(syscall('fcntl', given, F.DUPFD_CLOEXEC, 0));
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
