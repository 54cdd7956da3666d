/** What stands in the way of carrying mounts. */

import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import type { SeenNamespace, SeenTask, SeenTree } from '../../contract/contract.ts';
import { namesIn, tryReadLink } from '../../kernel/files.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { followedStatus } from '../../kernel/statx.ts';
import { OUTSIDE_KEEPER } from '../held.ts';
import { insideOf, namespaceNamed } from '../inside.ts';
import { INNER_PIDS } from '../pid/seen.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { savedFrom } from './contents.ts';
import { isRemade } from './filesystems.ts';
import { type Mount, nameOf } from './mount.ts';
import { type PlanFault, planMounts } from './plan.ts';
import { otherMounts, SEEN_MOUNTS } from './seen.ts';

// For mounts of namespaces.
const LATE = new Part(() => require('./late.ts') as typeof import('./late.ts'));

/** The mounts of a namespace that cannot be carried, each with the option that helps. */
export function mountObstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const { mounts } = SEEN_MOUNTS.of(tree, namespace);
  const others = otherMounts(tree, namespace);
  const { enableFs } = tree.options;
  const plan = planMounts(mounts, others, (mount) => isRemade(mount, enableFs));
  const faults = 'steps' in plan ? [] : plan.map((fault) => faultObstacle(fault, namespace, tree));
  const hidden = [...savedFrom(mounts, others)].flatMap(([dev, whole]) => {
    const mount = mounts.find((other) => other.dev === dev);
    if (whole || !mount) return [];
    const reason = 'only a part of its file system is mounted, so that its contents cannot be saved as a whole';
    return [obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, external(mount))];
  });
  const unknown = mounts.flatMap((mount) => {
    if (mount.idMap !== 'unknown') return [];
    const reason = 'it shows its files with other owners (idmapped), and which ones cannot be found out (Linux 6.15)';
    return [obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, external(mount))];
  });
  return [
    ...faults,
    ...hidden,
    ...unknown,
    ...lateNamespaces(mounts, namespace, tree),
    ...withoutProcess(mounts, namespace, tree),
    ...otherProcs(mounts, namespace, tree),
  ];
}

/** Mounts of namespaces that cannot be made again where they are. */
function lateNamespaces(mounts: readonly Mount[], namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  return mounts.flatMap((mount) => {
    if (mount.origin?.kind !== 'namespace') return [];
    const reason = LATE.load().lateFault(mount, mounts, namespace, tree);
    return reason === undefined ? [] : [obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, external(mount))];
  });
}

/** File systems that belong to a namespace of whoever mounts them. */
const OF_MAKER: readonly string[] = ['proc', 'sysfs', 'mqueue', 'cgroup', 'cgroup2'];

/**
 * What a mount namespace that no process is in cannot be given again: file systems of other namespaces, unless one that
 * processes are in has them as well; and files that a process has mapped, since it maps them before the namespace is
 * made.
 */
function withoutProcess(mounts: readonly Mount[], namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  if (namespace.members.length > 0) return [];
  const inhabited = SEEN_NAMESPACES.of(tree).others.filter(({ name, members }) => name === 'mnt' && members.length > 0);
  const known = new Set(inhabited.flatMap((other) => SEEN_MOUNTS.of(tree, other).mounts.map(({ dev }) => dev)));
  const bound = mounts
    .filter(({ fsType, origin, dev }) => origin === undefined && OF_MAKER.includes(fsType) && !known.has(dev))
    .map((mount) => {
      const reason = `no process of the tree is in its mount namespace, nor in one that shows the same ${mount.fsType}`;
      return obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, external(mount));
    });
  const ids = new Set(mounts.map(({ id }) => id));
  const mapped = tree.tasks.flatMap((task) =>
    mappedMounts(task).flatMap(({ mntId, path }) => {
      const mount = ids.has(mntId) ? mounts.find(({ id }) => id === mntId) : undefined;
      if (!mount) return [];
      const reason = `no process of the tree is in its mount namespace, and process ${task.ref.pid} has mapped ${path}`;
      return [obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, 'have the program close the namespace')];
    }),
  );
  return [...bound, ...mapped];
}

/** The mounts that the mapped files of a process are on. */
function mappedMounts({ pid }: SeenTask): { readonly mntId: number; readonly path: string }[] {
  const at = `/proc/${pid}/map_files`;
  const names = unlessGone(() => namesIn(at)) ?? [];
  return names.flatMap((name) => {
    const mntId = followedStatus(`${at}/${name}`)?.mntId;
    return mntId === undefined ? [] : [{ mntId, path: String(tryReadLink(`${at}/${name}`)) }];
  });
}

/**
 * A /proc of another PID namespace than that of the process which mounts it again: the first in the mount namespace,
 * which is there before the processes further in are.
 */
function otherProcs(mounts: readonly Mount[], namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const [first] = namespace.members;
  const own = first && SEEN_NAMESPACES.of(tree).of(first.pid, 'pid');
  if (!own || INNER_PIDS.of(tree).length === 0) return [];
  const procs = mounts.filter(({ fsType, origin }) => fsType === 'proc' && origin === undefined);
  if (procs.length === 0) return [];
  const shown = insideOf(first.pid, 'mnt', () => procs.map(({ mountPoint }) => tryReadLink(`${mountPoint}/1/ns/pid`)));
  return procs.flatMap((mount, i) => {
    if (typeof shown[i] !== 'string' || shown[i] === `pid:[${own.ino}]`) return [];
    const reason = 'it shows another PID namespace than that of the first process of its mount namespace';
    const remedy = 'unshare the mount namespace inside of the PID namespace: unshare --pid --fork unshare --mount-proc';
    return [obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, remedy)];
  });
}

function faultObstacle({ mount, reason }: PlanFault, namespace: SeenNamespace, tree: SeenTree): StasisError {
  if (reason === 'uncovered' && mount.fsType === 'nsfs') return foreignNamespace(mount, namespace, tree);
  switch (reason) {
    case 'no root':
      return obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', 'the root of its mount namespace cannot be seen');
    case 'orphan':
      return obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', 'it is on a mount that cannot be seen');
    default:
      return obstacle(
        mount,
        namespace,
        'MOUNT_UNSUPPORTED',
        `Stasis cannot mount file systems of the type ${mount.fsType} again, and this one is not mounted on the machine`,
        `${external(mount)}, or leave it out with --skip-mnt ${mount.mountPoint}`,
      );
  }
}

/** The obstacle that a namespace is mounted on a file that is neither the tree's alone nor the machine's. */
function foreignNamespace(mount: Mount, namespace: SeenNamespace, tree: SeenTree): StasisError {
  const keeper = OUTSIDE_KEEPER.of(tree, mount.root);
  const outside =
    keeper && 'pid' in keeper ? `which process ${keeper.pid} outside of the tree uses as well` : undefined;
  const type = namespaceNamed(mount.root)?.name ?? 'unknown';
  const reason = `a ${type} namespace is mounted there, ${outside ?? 'which no process of the tree is in'}`;
  return obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, external(mount));
}

function external({ mountPoint }: Mount): string {
  return `name what is mounted there at the restore: --external mnt[${mountPoint}]:NAME`;
}

function obstacle(
  mount: Mount,
  { members: [first] }: SeenNamespace,
  code: ErrorCode,
  reason: string,
  remedy?: string,
): StasisError {
  const task = first?.ref;
  return new StasisError({ kind: 'unsupported', code, task, resource: nameOf(mount), reason, remedy });
}
