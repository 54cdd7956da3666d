/**
 * Where the file of a bound socket is. The kernel keeps a name as it was bound: relative to what was the working
 * directory then, or to the root of a chroot(2). The file itself may have been renamed or removed since. SIOCUNIXFILE
 * leads to it, whatever became of its name.
 */
import { type LocalFd, localFd } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import { decodeText } from '../../../base/text.ts';
import type { OpenFile, SeenTree } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { unixSkEntry } from '../../../images/schema/sockets.ts';
import { SIOCUNIXFILE } from '../../../kernel/constants/sockets.ts';
import { tryReadLink } from '../../../kernel/files.ts';
import { splitDeleted } from '../../../kernel/proc/common.ts';
import { type FileStatus, statusOf } from '../../../kernel/statx.ts';
import { Fd, trySyscall } from '../../../kernel/syscall.ts';
import { PLACES, type PlaceIfAny, statusIn } from '../../../namespaces/places.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { pathOf } from './paths.ts';

/** The file a socket is bound to. */
export interface SocketFile {
  /** Its path as Stasis sees it; the last one if it was removed. */
  readonly path: string;
  readonly deleted: boolean;
  readonly status: FileStatus;
}

/** The file of a socket; undefined if it is not bound, or has an abstract name. */
export function socketFile(local: LocalFd): SocketFile | undefined {
  const got = trySyscall('ioctl', local, SIOCUNIXFILE);
  if (got < 0) return undefined;
  using fd = new Fd(got);
  const status = statusOf(localFd(got));
  const link = tryReadLink(`/proc/self/fd/${fd.number}`);
  const name = typeof link === 'string' ? link : '';
  // A file may really be called so: only the number of its links tells.
  const { path, deleted } = status.nlink === 0 ? splitDeleted(name) : { path: name, deleted: false };
  return { path, deleted, status };
}

/** Whether a name is a path, and not one of the abstract names. */
export function isPath(name: Uint8Array): boolean {
  return name.length > 0 && name[0] !== 0;
}

/** Why the name of a socket cannot be made again; undefined if it can. */
export function nameObstacle(file: OpenFile, name: Uint8Array, tree: SeenTree): StasisError | undefined {
  if (!isPath(name)) return undefined;
  const found = socketFile(file.local);
  const refuse = (reason: string, remedy: string): StasisError => fileObstacle(file, 'SOCKET_NAME', reason, remedy);
  if (!found) return refuse('the kernel does not tell where its file is', 'give Stasis CAP_NET_ADMIN');
  if (found.deleted) return undefined;
  const place = PLACES.of(tree).get(found.status.mntId);
  const there = found.path.startsWith('/') ? statusIn(place, found.path) : undefined;
  if (there && there.ino === found.status.ino && there.dev === found.status.dev) return undefined;
  if (place?.hides?.(found.path)) return undefined;
  const split = splitDeleted(found.path);
  if (split.deleted) {
    const reason = `its file has lost the name ${split.path}, and lives on under another one (a hard link)`;
    return refuse(reason, `rename that to ${split.path} before the dump`);
  }
  const reason = `its file cannot be reached at ${found.path}: it is of another mount namespace, or was mounted over`;
  return refuse(reason, 'unmount what hides it, or have the program bind it anew');
}

/** What images hold of a name, and its path if that does not follow from it. */
export interface CapturedName {
  readonly entry: Pick<InputOf<typeof unixSkEntry>, 'name' | 'name_dir' | 'deleted' | 'file_perms' | 'mnt_id'>;
  readonly path: string | undefined;
  /** The file, by which sockets that share one name are known. */
  readonly address: string | undefined;
}

/** The name of a socket for its entry. `here` are directories that a relative name may be relative to. */
export function captureName(
  local: LocalFd,
  name: Uint8Array | undefined,
  here: () => string[],
  tree: SeenTree,
): CapturedName {
  const nothing = { path: undefined, address: undefined };
  if (!name) return { entry: { name: new Uint8Array() }, ...nothing };
  const file = isPath(name) ? socketFile(local) : undefined;
  if (!file) return { entry: { name }, ...nothing };
  const { mode, uid, gid, dev, ino, mntId } = file.status;
  const place = PLACES.of(tree).get(mntId);
  const text = decodeText(name).replace(/\0+$/, '');
  const directory = text.startsWith('/') ? undefined : directoryOf(text, file, here, place);
  return {
    entry: {
      name,
      file_perms: { mode, uid: tree.ids.uidThere(uid), gid: tree.ids.gidThere(gid) },
      ...(place ? { mnt_id: mntId } : {}),
      ...(directory === undefined ? {} : { name_dir: directory }),
      ...(file.deleted ? { deleted: true } : {}),
    },
    path: pathOf(text, directory) === pathIn(file, text) ? undefined : pathIn(file, text),
    address: `${dev}:${ino}`,
  };
}

/** The path of a file. Of a removed one only its directory is of use: a restore may have given it another name. */
function pathIn({ path, deleted }: SocketFile, name: string): string {
  return deleted ? path.slice(0, path.lastIndexOf('/') + 1) + name.slice(name.lastIndexOf('/') + 1) : path;
}

/** The directory that a relative name is relative to. */
function directoryOf(name: string, { path, status }: SocketFile, here: () => string[], place: PlaceIfAny): string {
  if (path.endsWith(`/${name}`)) return path.slice(0, -name.length - 1) || '/';
  const leads = (directory: string): boolean => statusIn(place, `${directory}/${name}`)?.ino === status.ino;
  return here().find(leads) ?? (path.slice(0, path.lastIndexOf('/')) || '/');
}
