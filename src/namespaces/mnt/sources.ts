/** What a mount namespace has from outside: which path of the machine each of its bases comes from. */
import { StasisError } from '../../base/errors.ts';
import type { CarryOptions, RestoreContext } from '../../contract/contract.ts';
import { describeErrno } from '../../kernel/syscall.ts';
import { MADE_NAMESPACES, wasOurs } from '../made.ts';
import { type Mount, nameOf, type Origin } from './mount.ts';
import type { Base } from './plan.ts';

/** The path on the machine that a base comes from; undefined for a file system that is mounted. @throws StasisError */
export function sourcePath({ origin, mount }: Base, context: RestoreContext): string | undefined {
  const { options } = context;
  switch (origin?.kind) {
    case 'root':
      return options.root ?? origin.path ?? noRoot(mount);
    case 'machine':
      return userPath(options, mount.mountPoint) ?? origin.path;
    case 'user':
      return userPath(options, origin.key) ?? unnamed(mount, `mnt[${origin.key}]:PATH`);
    case 'namespace':
      return namespacePath(origin, mount, context);
    default:
      return undefined;
  }
}

/** A path that leads to a namespace. */
function namespacePath(
  { name, id }: Extract<Origin, { kind: 'namespace' }>,
  mount: Mount,
  context: RestoreContext,
): string {
  const made = MADE_NAMESPACES.of(context).get(name, id);
  if (made) return `/proc/self/fd/${made.fd}`;
  if (wasOurs(context, name, id)) return `/proc/self/ns/${name}`;
  throw new StasisError({ kind: 'image', resource: nameOf(mount), reason: `there is no ${name} namespace ${id}` });
}

/** The path that the user gives for a mount: `--external mnt[NAME]:PATH`, `--ext-mount-map NAME:PATH`. */
function userPath({ external, extMountMap }: CarryOptions, name: string): string | undefined {
  const prefix = `mnt[${name}]:`;
  const found = external.find((text) => text.startsWith(prefix) && text.length > prefix.length);
  const path = found === undefined ? extMountMap.get(name) : found.slice(prefix.length);
  // As in CRIU, paths begin at the root directory.
  return path === undefined || path.startsWith('/') ? path : `/${path}`;
}

function noRoot(mount: Mount): never {
  throw new StasisError({
    kind: 'usage',
    code: 'MOUNT_SOURCE',
    resource: nameOf(mount),
    reason: 'the images tell of no path on the machine for the root directory of the tree',
    remedy: '--root DIR',
  });
}

function unnamed(mount: Mount, option: string): never {
  throw new StasisError({
    kind: 'usage',
    code: 'MOUNT_SOURCE',
    resource: nameOf(mount),
    reason: 'it was left to the user when it was dumped',
    remedy: `--external ${option}`,
  });
}

/** The error for a source that cannot be opened. */
export function missingSource({ mount, origin }: Base, path: string, errno: number): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'MOUNT_SOURCE',
    resource: nameOf(mount),
    reason: `${path}, where it comes from, cannot be opened: ${describeErrno(errno)}`,
    remedy: origin?.kind === 'root' ? '--root DIR' : `--external mnt[${mount.mountPoint}]:PATH`,
  });
}
