/** What stands in the way of carrying mounts. */

import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { savedFrom } from './contents.ts';
import { isRemade } from './filesystems.ts';
import { type Mount, nameOf } from './mount.ts';
import { type PlanFault, planMounts } from './plan.ts';
import { otherMounts, SEEN_MOUNTS } from './seen.ts';

/** The mounts of a namespace that cannot be carried, each with the option that helps. */
export function mountObstacles(namespace: SeenNamespace, tree: SeenTree): StasisError[] {
  const { mounts } = SEEN_MOUNTS.of(tree, namespace);
  const others = otherMounts(tree, namespace);
  const { enableFs } = tree.options;
  const plan = planMounts(mounts, others, (mount) => isRemade(mount, enableFs));
  const faults = 'steps' in plan ? [] : plan.map((fault) => faultObstacle(fault, namespace));
  const hidden = [...savedFrom(mounts, others)].flatMap(([dev, whole]) => {
    const mount = mounts.find((other) => other.dev === dev);
    if (whole || !mount) return [];
    const reason = 'only a part of its file system is mounted, so that its contents cannot be saved as a whole';
    return [obstacle(mount, namespace, 'MOUNT_UNSUPPORTED', reason, external(mount))];
  });
  return [...faults, ...hidden];
}

function faultObstacle({ mount, reason }: PlanFault, namespace: SeenNamespace): StasisError {
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
