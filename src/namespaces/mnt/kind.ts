/** Mount namespaces. */

import { StasisError } from '../../base/errors.ts';
import { encodeText } from '../../base/text.ts';
import type {
  DumpContext,
  MadeNamespace,
  NamespaceKind,
  RestoreContext,
  SeenNamespace,
} from '../../contract/contract.ts';
import { Images } from '../../images/kinds.ts';
import { MS } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { PLACES } from '../places.ts';
import { buildMounts, finishMounts } from './build.ts';
import { captureContents } from './contents.ts';
import { isRemade } from './filesystems.ts';
import { entryOf, type Mount, nameOf } from './mount.ts';
import { type MountNote, notesName } from './notes.ts';
import { mountObstacles } from './obstacles.ts';
import { planMounts } from './plan.ts';
import { lockedMounts } from './reach.ts';
import { otherSavedMounts, SAVED_MOUNTS } from './saved.ts';
import { SEEN_MOUNTS } from './seen.ts';
import { WORKSHOP } from './workshop.ts';

function capture(namespace: SeenNamespace, context: DumpContext): void {
  const { mounts } = SEEN_MOUNTS.of(context.tree, namespace);
  const notes = mounts.flatMap((mount) => noteOf(mount) ?? []);
  context.images.write(Images.mnts, namespace.id, mounts.map(entryOf));
  if (notes.length > 0) context.images.put(notesName(namespace.id), encodeText(`${JSON.stringify(notes)}\n`));
  captureContents(namespace, context);
  if (namespace.owner) tellOfLocks(namespace, mounts, context);
}

/**
 * What a user namespace has got from outside nobody may unmount inside, or take attributes from (MNT_LOCKED). A restore
 * mounts it inside, where it is not locked.
 */
function tellOfLocks(namespace: SeenNamespace, mounts: readonly Mount[], context: DumpContext): void {
  const locked = lockedMounts(mounts, namespace);
  const [first] = locked;
  if (!first) return;
  const others = locked.length > 1 ? ` and ${locked.length - 1} others` : '';
  const reason = `${nameOf(first)}${others} could not be unmounted inside of the user namespace; restored they can be`;
  context.notice({ resource: `mount namespace ${namespace.ino}`, reason });
}

/** What images have no place for; undefined if there is nothing. */
function noteOf({ id, mountPoint, origin, flags, outside }: Mount): MountNote | undefined {
  const own = flags & MS.NOSYMFOLLOW;
  const note = {
    id,
    ...(origin?.kind === 'root' ? { root: origin.path ?? '' } : {}),
    ...(own === 0 ? {} : { flags: own }),
    ...(outside === undefined ? {} : { outside }),
  };
  // Of a root that is none a note is needed, too: without any, what is mounted at / comes from --root.
  return Object.keys(note).length > 1 || mountPoint === '/' ? note : undefined;
}

function rebuild(namespace: MadeNamespace, context: RestoreContext): void {
  const mounts = SAVED_MOUNTS.of(context, namespace.id);
  const { enableFs } = context.options;
  const plan = planMounts(mounts, otherSavedMounts(context, namespace.id), (mount) =>
    isRemade(mount, [...enableFs, mount.fsType]),
  );
  if (!('steps' in plan)) {
    const [fault] = plan;
    throw new StasisError({
      kind: 'image',
      resource: `mountpoints-${namespace.id}.img`,
      reason: fault ? `${nameOf(fault.mount)} cannot be made: ${fault.reason}` : 'image is missing or empty',
    });
  }
  const root = buildMounts(plan, namespace, context);
  const places = PLACES.of(context);
  const made = WORKSHOP.of(context).mounts;
  for (const { id, mountPoint } of mounts) places.set(id, { root: made.get(id)?.number ?? root, prefix: mountPoint });
}

/** Mount namespaces. */
export const mntNamespace: NamespaceKind = {
  name: 'mnt',
  flag: CLONE.NEWNS,
  obstacles: mountObstacles,
  capture,
  rebuild,
  finish: finishMounts,
};
