/**
 * Users and groups of a tree. The kernel tells them to Stasis, and takes them, as Stasis' own user namespace sees them;
 * images have them as the outermost user namespace that the tree's root is in sees them.
 */
import type { HostPid } from '../base/brands.ts';
import type { IdView } from '../contract/contract.ts';
import type { UsernsEntry } from '../images/schema/namespaces.ts';
import { type IdRange, parseIdMap } from '../kernel/proc/namespaces.ts';
import { readProc } from '../kernel/proc/read.ts';

/** The ID for what has none in a user namespace. In images of CRIU it is the same. */
export const NO_ID = 0xffffffff;

/** How the IDs of a user namespace are seen from ours. */
export class IdMaps implements IdView {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];

  constructor(uids: readonly IdRange[], gids: readonly IdRange[]) {
    this.uids = uids;
    this.gids = gids;
  }

  /** The maps of the user namespace that a process is in. */
  static of(pid: HostPid): IdMaps {
    const map = (name: string): IdRange[] => parseIdMap(readProc(pid, name));
    return new IdMaps(map('uid_map'), map('gid_map'));
  }

  /** The maps of a namespace whose parent is ours, as an image has them. */
  static from({ uid_map, gid_map }: UsernsEntry): IdMaps {
    const ranges = (map: UsernsEntry['uid_map']): IdRange[] =>
      map.map(({ first, lower_first, count }) => ({ inside: first, outside: lower_first, count }));
    return new IdMaps(ranges(uid_map), ranges(gid_map));
  }

  uidThere(here: number): number {
    return there(this.uids, here);
  }
  gidThere(here: number): number {
    return there(this.gids, here);
  }
  uidHere(inside: number): number {
    return here(this.uids, inside);
  }
  gidHere(inside: number): number {
    return here(this.gids, inside);
  }
}

function there(map: readonly IdRange[], id: number): number {
  const range = map.find(({ outside, count }) => id >= outside && id - outside < count);
  return range ? range.inside + (id - range.outside) : NO_ID;
}

function here(map: readonly IdRange[], id: number): number {
  const range = map.find(({ inside, count }) => id >= inside && id - inside < count);
  return range ? range.outside + (id - range.inside) : 0;
}

const same = (id: number): number => id;
const sameOrRoot = (id: number): number => (id === NO_ID ? 0 : id);

/** The view from our own user namespace: all IDs are the same. */
export const OUR_IDS: IdView = { uidThere: same, gidThere: same, uidHere: sameOrRoot, gidHere: sameOrRoot };

function first(map: readonly IdRange[]): number | undefined {
  return (map.find(({ inside }) => inside === 0) ?? map[0])?.outside;
}

/** The first user that a namespace has, root if that is there, as we see it; undefined if it has none. */
export function firstUser({ uids }: IdMaps): number | undefined {
  return first(uids);
}

/** The same of its groups. */
export function firstGroup({ gids }: IdMaps): number | undefined {
  return first(gids);
}
