/**
 * Making objects as another user: some objects of the kernel keep for good who has made them. Only the calling thread
 * changes, since these are the system calls themselves and not those of the C library; and it keeps all capabilities.
 */
import { PR, SECBIT } from './constants/prctl.ts';
import { arenaAddress, arenaView, syscall, trySyscall } from './syscall.ts';

/** Stands for an ID that does not change. */
const SAME = -1;

/** Real, effective and saved ID. */
type Ids = readonly [real: number, effective: number, saved: number];

/**
 * Does `work` with another effective user and group.
 *
 * @throws SyscallError if we may not do that, and whatever `work` throws
 */
export function actAs<T>(uid: number, gid: number, work: () => T): T {
  if (idsOf('getresuid')[1] === uid && idsOf('getresgid')[1] === gid) return work();
  return withOthers(() => {
    syscall('setresgid', SAME, gid, SAME);
    syscall('setresuid', SAME, uid, SAME);
  }, work);
}

/** Does `work` with another real and effective user. @throws SyscallError, and whatever `work` throws */
export function asUser<T>(uid: number, euid: number, work: () => T): T {
  return withOthers(() => syscall('setresuid', uid, euid, SAME), work);
}

/** Who a process is born as. */
export interface BornUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/**
 * Does `work` with other users and groups, real ones too, so that a process that is made meanwhile has them.
 *
 * @throws SyscallError if we may not do that, and whatever `work` throws
 */
export function bornAs<T>({ uid, gid, groups }: BornUser, work: () => T): T {
  const own = ownGroups();
  try {
    return withOthers(() => {
      setGroups(new Uint32Array(groups));
      syscall('setresgid', gid, gid, SAME);
      syscall('setresuid', uid, uid, SAME);
    }, work);
  } finally {
    setGroups(own);
  }
}

function ownGroups(): Uint32Array {
  const groups = new Uint32Array(syscall('getgroups', 0, 0));
  if (groups.length > 0) syscall('getgroups', groups.length, groups);
  return groups;
}

function setGroups(groups: Uint32Array): void {
  syscall('setgroups', groups.length, groups.length > 0 ? groups : 0);
}

/** Does `work` after a change of users and groups, and undoes that. */
function withOthers<T>(change: () => void, work: () => T): T {
  const uids = idsOf('getresuid');
  const gids = idsOf('getresgid');
  using _ = new KeptRights();
  try {
    change();
    return work();
  } finally {
    syscall('setresuid', ...uids);
    syscall('setresgid', ...gids);
    // Along with the effective IDs those have changed that files get.
    if (fileOwner) setFileOwner(fileOwner);
  }
}

function idsOf(call: 'getresuid' | 'getresgid'): Ids {
  syscall(call, arenaAddress, arenaAddress + 4, arenaAddress + 8);
  return [arenaView.getUint32(0, true), arenaView.getUint32(4, true), arenaView.getUint32(8, true)];
}

/** A time in which a change of users takes no capabilities from us. */
class KeptRights implements Disposable {
  readonly #bits = syscall('prctl', PR.GET_SECUREBITS, 0, 0, 0, 0);
  readonly #dumpable = syscall('prctl', PR.GET_DUMPABLE, 0, 0, 0, 0);

  constructor() {
    // Without this the kernel takes the effective capabilities from a process that ceases to be root.
    trySyscall('prctl', PR.SET_SECUREBITS, this.#bits | SECBIT.NO_SETUID_FIXUP, 0, 0, 0);
  }

  [Symbol.dispose](): void {
    trySyscall('prctl', PR.SET_SECUREBITS, this.#bits, 0, 0, 0);
    // A change of users makes a process undumpable (commit_creds()).
    if (this.#dumpable === 1) trySyscall('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  }
}

/** A user and a group. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** To whom files belong that we make, if that is not whoever we are. */
let fileOwner: Owner | undefined;

/**
 * Has files that we make belong to a user and a group, until the scope ends: a file system of a user namespace takes
 * none of owners that have no ID in it (may_create() in fs/namei.c).
 */
export class FileOwner implements Disposable {
  readonly #before: Owner | undefined;

  constructor({ uid, gid }: Owner) {
    this.#before = fileOwner;
    fileOwner = { uid, gid };
    using _ = new KeptRights();
    setFileOwner(fileOwner);
  }

  [Symbol.dispose](): void {
    fileOwner = this.#before;
    using _ = new KeptRights();
    setFileOwner(fileOwner ?? { uid: idsOf('getresuid')[1], gid: idsOf('getresgid')[1] });
  }
}

function setFileOwner({ uid, gid }: Owner): void {
  // These two answer the ID that was, whether they succeed or not.
  syscall('setfsgid', gid);
  syscall('setfsuid', uid);
}
