/**
 * Users and groups of what is in a namespace. Images have them as the user namespace sees them that owns the namespace;
 * the kernel tells them to Stasis, and takes them, as Stasis' own user namespace sees them.
 */
import type { HostPid } from '../base/brands.ts';
import type { MadeNamespace, RestoreContext, SeenNamespace } from '../contract/contract.ts';
import { NS_GET } from '../kernel/constants/namespaces.ts';
import { type IdRange, parseIdMap } from '../kernel/proc/namespaces.ts';
import { readProc } from '../kernel/proc/read.ts';
import { statusOf } from '../kernel/statx.ts';
import { Fd, trySyscall } from '../kernel/syscall.ts';
import { MADE_NAMESPACES } from './made.ts';

/** The ID for what has none in a user namespace. In images of CRIU it is the same. */
const NONE = 0xffffffff;

/** How the IDs of a user namespace are seen from ours. */
export class IdMaps {
  readonly #uids: readonly IdRange[] | undefined;
  readonly #gids: readonly IdRange[] | undefined;

  /** Without maps they are the same here as there. */
  constructor(maps?: { readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] }) {
    this.#uids = maps?.uids;
    this.#gids = maps?.gids;
  }

  /** The maps of the user namespace that a process is in. */
  static of(pid: HostPid): IdMaps {
    const map = (name: string): IdRange[] => parseIdMap(readProc(pid, name));
    return new IdMaps({ uids: map('uid_map'), gids: map('gid_map') });
  }

  /** A user as the other namespace sees it; {@link NONE} if it does not. */
  uidThere(here: number): number {
    return there(this.#uids, here);
  }
  gidThere(here: number): number {
    return there(this.#gids, here);
  }

  /** A user of the other namespace as we see it; root for one that has no ID here. */
  uidHere(inside: number): number {
    return here(this.#uids, inside);
  }
  gidHere(inside: number): number {
    return here(this.#gids, inside);
  }
}

function there(map: readonly IdRange[] | undefined, id: number): number {
  if (!map) return id;
  const range = map.find(({ outside, count }) => id >= outside && id - outside < count);
  return range ? range.inside + (id - range.outside) : NONE;
}

function here(map: readonly IdRange[] | undefined, id: number): number {
  if (!map) return id === NONE ? 0 : id;
  const range = map.find(({ inside, count }) => id >= inside && id - inside < count);
  return range ? range.outside + (id - range.inside) : 0;
}

/** The IDs of what is in a namespace, at a dump. */
export function idsInSeen({ owner }: SeenNamespace): IdMaps {
  const [member] = owner?.members ?? [];
  return member ? IdMaps.of(member.pid) : new IdMaps();
}

/** The IDs of what is in a namespace, at a restore. */
export function idsInMade({ fd }: MadeNamespace, context: RestoreContext): IdMaps {
  const asked = trySyscall('ioctl', fd, NS_GET.USERNS, 0);
  if (asked < 0) return new IdMaps();
  using owner = new Fd(asked);
  const { ino } = statusOf(owner.number);
  const made = MADE_NAMESPACES.of(context).all.find(({ name, fd }) => name === 'user' && statusOf(fd).ino === ino);
  return made?.first ? IdMaps.of(made.first.tracee.pid) : new IdMaps();
}
