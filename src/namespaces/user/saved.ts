/** User namespaces in images: `userns-N.img`, and `stasis-userns-N.json` for what that has no place for. */
import type { IdView, MadeNamespace, RestoreContext } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import { ImageError } from '../../images/error.ts';
import { type FormType, list, object, oneOf, optional, readJson, whole } from '../../images/form.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { namespaceIdsOf } from '../../images/namespace-ids.ts';
import type { UsernsEntry } from '../../images/schema/namespaces.ts';
import { IdMaps, OUR_IDS } from '../../support/user-ids.ts';
import { emptyNamespaces } from '../empty.ts';
import { SAVED_IDS } from '../made.ts';

const range = object({ inside: whole, outside: whole, count: whole });

const note = object({
  /** The ID of the user namespace that it is inside of, if that is not the one of Stasis. */
  parent: optional(whole),
  /** The user that has all capabilities in it. */
  owner: whole,
  /** Whether its processes may not change their groups (`/proc/PID/setgroups`). */
  setgroups: optional(oneOf('deny')),
  /** Project IDs of quotas. */
  projects: optional(list(range)),
  /** The user and the group without an ID in it that processes in it have. */
  strangers: optional(object({ uid: optional(whole), gid: optional(whole) })),
  /** The groups that all of its processes are in, if these include some without an ID in it. */
  groups: optional(list(whole)),
  /** The namespaces that belong to it, by the IDs of the images. */
  owns: list(whole),
});

/** What CRIU's image has no place for. */
export type UserNote = FormType<typeof note>;

/** The name of the file, by the ID of the namespace. */
export const userNoteName = (id: number): string => `stasis-userns-${id}.json`;

/** A user namespace as images have it. */
export interface SavedUserNamespace {
  readonly entry: UsernsEntry;
  /** Undefined in images of criu. */
  readonly note: UserNote | undefined;
}

/** The user namespace with this ID. @throws ImageError */
export const SAVED_USER_NAMESPACES = new KeyedSlot((context: RestoreContext, id: number): SavedUserNamespace => {
  const { images } = context;
  return { entry: images.readOne(Images.userns, id), note: readNote(images, id) };
});

function readNote(images: ImageSet, id: number): UserNote | undefined {
  const name = userNoteName(id);
  const bytes = images.own(name);
  return bytes && readJson(note, bytes, name);
}

/**
 * The user namespaces from the outermost that is made to the one with this ID, which is the last; none if it is `ours`.
 * @throws ImageError
 */
function usersDownTo(id: number, ours: number, noteOf: (id: number) => UserNote | undefined): number[] {
  const found: number[] = [];
  for (let at: number | undefined = id; at !== undefined && at !== ours; at = noteOf(at)?.parent) {
    if (found.includes(at))
      throw new ImageError({ file: userNoteName(at), field: 'parent', reason: 'is inside of it' });
    found.unshift(at);
  }
  return found;
}

/** The users and groups that images are about, which the outermost user namespace of the root sees: `id` is its own. */
export function savedIds(images: ImageSet, id: number, ours: number): IdView {
  const [outermost] = usersDownTo(id, ours, (at) => readNote(images, at));
  return outermost === undefined ? OUR_IDS : IdMaps.from(images.readOne(Images.userns, outermost));
}

/**
 * The IDs of the user namespaces that are to be made, outer ones before those inside of them: those that processes are
 * in, those around these, and those that own other namespaces of processes.
 */
export const USER_IDS = new Slot((context: RestoreContext): readonly number[] => {
  const ofTasks = context.images.read(Images.pstree).map(({ pid }) => SAVED_IDS.of(context, pid).user);
  return [...new Set([...ofTasks, ...emptyNamespaces(context, 'user')].flatMap((id) => savedUsersDownTo(context, id)))];
});

/** The IDs of the user namespaces from the outermost that is made to this one; none for ours. @throws ImageError */
export function savedUsersDownTo(context: RestoreContext, id: number): number[] {
  const { user } = namespaceIdsOf(context.images.inventory().root_ids ?? {}, undefined);
  return usersDownTo(id, user, (at) => SAVED_USER_NAMESPACES.of(context, at).note);
}

/** The user namespace that owns a namespace of another type; undefined if that is ours. */
export function savedOwner(context: RestoreContext, id: number): number | undefined {
  const owner = USER_IDS.of(context).find((user) => SAVED_USER_NAMESPACES.of(context, user).note?.owns.includes(id));
  if (owner !== undefined) return owner;
  // CRIU takes only trees whose namespaces are all owned by the one user namespace.
  return USER_IDS.of(context).find((user) => SAVED_USER_NAMESPACES.of(context, user).note === undefined);
}

/** The IDs of the user namespace that owns a namespace; undefined if that is ours. */
function mapsOfOwner(context: RestoreContext, id: number): IdMaps | undefined {
  const owner = savedOwner(context, id);
  return owner === undefined ? undefined : IdMaps.from(SAVED_USER_NAMESPACES.of(context, owner).entry);
}

/** The IDs of the user namespace that owns a namespace. */
export function ownerIds({ id }: Pick<MadeNamespace, 'id'>, context: RestoreContext): IdMaps | undefined {
  return mapsOfOwner(context, id);
}
