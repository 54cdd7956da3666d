/** What the processes that are being restored are in their user namespaces, until they get their credentials. */
import type { MadeNamespace, RestoreContext } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import { firstGroup, firstUser, IdMaps } from '../../support/user-ids.ts';
import { SAVED_IDS, wasOurs } from '../made.ts';
import { SAVED_USER_NAMESPACES, type SavedUserNamespace, savedOwner, USER_IDS } from './saved.ts';

/** The IDs of a user namespace, and the user and group that its processes have for the time being, as we see them. */
export interface Inside {
  readonly maps: IdMaps;
  readonly uid: number;
  readonly gid: number;
  /** The groups that they are in, if these are not to be changed. */
  readonly groups: readonly number[] | undefined;
}

/** What a process with this PID in the images is in its user namespace; undefined if that is ours. */
export const INSIDE = new KeyedSlot((context: RestoreContext, pid: number): Inside | undefined => {
  const id = SAVED_IDS.of(context, pid).user;
  return wasOurs(context, 'user', id) ? undefined : insideOf(SAVED_USER_NAMESPACES.of(context, id));
});

/** What processes are in the user namespace that owns a namespace of another type; undefined if that is ours. */
export function insideOwner({ id }: Pick<MadeNamespace, 'id'>, context: RestoreContext): Inside | undefined {
  const owner = savedOwner(context, id);
  return owner === undefined ? undefined : insideOf(SAVED_USER_NAMESPACES.of(context, owner));
}

/** What processes with none but the usual rights are in a user namespace. */
export function insideOf({ entry, note }: SavedUserNamespace): Inside {
  const maps = IdMaps.from(entry);
  const owner = note?.owner ?? 0;
  return {
    maps,
    uid: note?.strangers?.uid ?? firstUser(maps) ?? owner,
    gid: note?.strangers?.gid ?? firstGroup(maps) ?? 0,
    groups: note?.groups,
  };
}

/** The user, group and groups that the maker of a user namespace has, as we see them. */
export function makerOf({ entry, note }: SavedUserNamespace): {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
} {
  const { uid, gid } = insideOf({ entry, note });
  const isStranger = note?.strangers?.uid !== undefined;
  return { uid: isStranger ? uid : (note?.owner ?? 0), gid: note?.strangers?.gid ?? gid, groups: note?.groups ?? [] };
}

/**
 * To whom files belong that Stasis makes in a restore, before they get their own owners; undefined if that does not
 * matter. Of namespaces inside of one another the innermost decides: all of them know its users.
 */
export const FILE_OWNER = new Slot(
  (context: RestoreContext): { readonly uid: number; readonly gid: number } | undefined => {
    const owners = USER_IDS.of(context).flatMap((id) => {
      const maps = IdMaps.from(SAVED_USER_NAMESPACES.of(context, id).entry);
      const [uid, gid] = [firstUser(maps), firstGroup(maps)];
      return uid === undefined || gid === undefined ? [] : [{ uid, gid }];
    });
    return owners.at(-1);
  },
);
