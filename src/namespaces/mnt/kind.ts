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
import { KeyedSlot } from '../../contract/slots.ts';
import { Images } from '../../images/kinds.ts';
import { MS } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { PLACES } from '../places.ts';
import { buildMounts, finishMounts } from './build.ts';
import { captureContents, restoreContents } from './contents.ts';
import { isRemade } from './filesystems.ts';
import { entryOf, type Mount, mountFromEntry, nameOf } from './mount.ts';
import { type MountNote, notesName, readNotes } from './notes.ts';
import { mountObstacles } from './obstacles.ts';
import { planMounts } from './plan.ts';
import { SEEN_MOUNTS } from './seen.ts';
import { WORKSHOP } from './workshop.ts';

function capture(namespace: SeenNamespace, context: DumpContext): void {
  const { mounts } = SEEN_MOUNTS.of(context.tree, namespace);
  const notes = mounts.flatMap((mount) => noteOf(mount) ?? []);
  context.images.write(Images.mnts, namespace.id, mounts.map(entryOf));
  if (notes.length > 0) context.images.put(notesName(namespace.id), encodeText(`${JSON.stringify(notes)}\n`));
  captureContents(namespace, mounts, context);
}

/** What images have no place for; undefined if there is nothing. */
function noteOf({ id, origin, flags, outside }: Mount): MountNote | undefined {
  const own = flags & MS.NOSYMFOLLOW;
  const note = {
    id,
    ...(origin?.kind === 'root' ? { root: origin.path ?? '' } : {}),
    ...(own === 0 ? {} : { flags: own }),
    ...(outside === undefined ? {} : { outside }),
  };
  return Object.keys(note).length > 1 ? note : undefined;
}

/** The mounts of the namespaces with these IDs in the images. */
const SAVED_MOUNTS = new KeyedSlot((context: RestoreContext, namespace: number): readonly Mount[] => {
  const notes = readNotes(context.images, namespace);
  return context.images.read(Images.mnts, namespace).map((entry) => mountFromEntry(entry, notes.get(entry.mnt_id)));
});

function rebuild(namespace: MadeNamespace, context: RestoreContext): void {
  const mounts = SAVED_MOUNTS.of(context, namespace.id);
  const { enableFs } = context.options;
  const plan = planMounts(mounts, [], (mount) => isRemade(mount, [...enableFs, mount.fsType]));
  if (!('steps' in plan)) {
    const [fault] = plan;
    throw new StasisError({
      kind: 'image',
      resource: `mountpoints-${namespace.id}.img`,
      reason: fault ? `${nameOf(fault.mount)} cannot be made: ${fault.reason}` : 'image is missing or empty',
    });
  }
  const root = buildMounts(plan, namespace, context, (mount, at) => restoreContents(mount, at, context));
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
