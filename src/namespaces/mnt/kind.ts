/** Mount namespaces. */

import { type LocalFd, localFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import { encodeText } from '../../base/text.ts';
import type {
  DumpContext,
  MadeNamespace,
  NamespaceDoors,
  RestoreContext,
  SeenNamespace,
} from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { Images } from '../../images/kinds.ts';
import { MS } from '../../kernel/constants/mounts.ts';
import { tryOpenOnMount } from '../../kernel/mounts.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { PLACES } from '../places.ts';
import { addMounts, buildMounts } from './build.ts';
import { captureContents } from './contents.ts';
import { isRemade } from './filesystems.ts';
import { finishMounts } from './finish.ts';
import { carriersOf, splitPlan } from './late.ts';
import { entryOf, type Mount, nameOf } from './mount.ts';
import { type MountNote, notesName } from './notes.ts';
import { mountObstacles } from './obstacles.ts';
import { lockedPart, type MountStep, planMounts } from './plan.ts';
import { lockedMounts } from './reach.ts';
import { otherSavedMounts, SAVED_MOUNTS } from './saved.ts';
import { SEEN_MOUNTS } from './seen.ts';
import { WORKSHOP } from './workshop.ts';

// For mount namespaces that are mounted in others.
const ORDER = new Part(() => require('./one-processor.ts') as typeof import('./one-processor.ts'));

function capture(namespace: SeenNamespace, context: DumpContext): void {
  const { mounts } = SEEN_MOUNTS.of(context.tree, namespace);
  const locked = new Set(lockedMounts(mounts, namespace));
  const told = mounts.map((mount) => (locked.has(mount) ? { ...mount, isLocked: true } : mount));
  const notes = told.flatMap((mount) => noteOf(mount) ?? []);
  context.images.write(Images.mnts, namespace.id, mounts.map(entryOf));
  if (notes.length > 0) context.images.put(notesName(namespace.id), encodeText(`${JSON.stringify(notes)}\n`));
  captureContents(namespace, context);
  tellOfLocks(namespace, told, context);
}

/**
 * What a user namespace has got from outside nobody may unmount inside, or take attributes from. A restore cannot lock
 * again what is on a mount that was made inside.
 */
function tellOfLocks({ ino }: SeenNamespace, mounts: readonly Mount[], context: DumpContext): void {
  const part = lockedPart(mounts);
  const [first, ...more] = mounts.filter(({ id, isLocked }) => isLocked && !part.has(id));
  if (!first) return;
  const others = more.length > 0 ? ` and ${more.length} others` : '';
  const reason = `${nameOf(first)}${others} could not be unmounted inside of the user namespace; restored they can be`;
  context.notice({ resource: `mount namespace ${ino}`, reason });
}

/** What images have no place for; undefined if there is nothing. */
function noteOf({ id, mountPoint, origin, flags, outside, isLocked, idMap }: Mount): MountNote | undefined {
  const own = flags & MS.NOSYMFOLLOW;
  const note = {
    id,
    ...(origin?.kind === 'root' ? { root: origin.path ?? '' } : {}),
    ...(own === 0 ? {} : { flags: own }),
    ...(isLocked ? { locked: true } : {}),
    ...(idMap && idMap !== 'unknown' ? { idMap } : {}),
    ...(origin?.kind === 'namespace' ? { namespace: { name: origin.name, id: origin.id } } : {}),
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
  const { now, late } = splitPlan(plan, context);
  const root = buildMounts(now, namespace, context);
  const setAll = (steps: readonly MountStep[]): void => setPlaces(steps, root, lockedPart(mounts), context);
  setAll(now.steps);
  if (late.steps.length === 0) return;
  LATE.of(context).push(() => {
    addMounts(late, carriersOf(late, mounts), namespace, context);
    setAll(late.steps);
  });
}

/** What is to be added to mount namespaces that have been built. */
const LATE = new Slot((_: RestoreContext): (() => void)[] => []);

/** Notes where paths on mounts begin; `root` is the root of their namespace. */
function setPlaces(
  steps: readonly MountStep[],
  root: LocalFd,
  locked: ReadonlySet<number>,
  context: RestoreContext,
): void {
  const places = PLACES.of(context);
  const { mounts: made, covered } = WORKSHOP.of(context);
  for (const { mount, base, below } of steps) {
    const { id, mountPoint: prefix, flags } = mount;
    places.set(id, {
      root: made.get(id)?.number ?? root,
      prefix,
      wide: () => openOnBase(base.key, below, context),
      isReadOnly: locked.size > 1 && locked.has(id) && (flags & MS.RDONLY) !== 0,
      covered: covered.get(id) ?? [],
    });
  }
}

/** Opens the root of a mount by way of the base that it was copied from; undefined if it is not there any more. */
function openOnBase(key: string, below: string, context: RestoreContext): LocalFd | undefined {
  const base = WORKSHOP.of(context).bases.get(key);
  if (!base || below === '') return base?.number;
  const opened = tryOpenOnMount(base.number, below);
  if (opened < 0) return undefined;
  context.atEnd(() => void trySyscall('close', opened));
  return localFd(opened);
}

/** Whether a mount namespace of the images is mounted in another one. */
const HAS_MOUNTED = new Slot((context: RestoreContext): boolean =>
  otherSavedMounts(context, -1).some(({ origin }) => origin?.kind === 'namespace' && origin.name === 'mnt'),
);

/** Mount namespaces. */
export const mntNamespace: NamespaceDoors = {
  obstacles: mountObstacles,
  capture,
  // One that is newer than another may be mounted in that, by numbers which each processor gives from a lot of its own
  // (ns_tree_gen_id() in kernel/nstree.c, since 6.18; mnt_ns_loop() in fs/namespace.c). So one processor makes all.
  beforeEntering({ batch, context }) {
    if (HAS_MOUNTED.of(context)) ORDER.load().stayOnOne(batch);
  },
  entered({ batch, context }) {
    if (HAS_MOUNTED.of(context)) ORDER.load().stayNowhere(batch);
  },
  rebuild,
  complete(context) {
    for (const add of LATE.of(context).splice(0)) add();
  },
  finish: finishMounts,
};
