/**
 * Finds a path of an inode by searching directories, for file systems that cannot open files by handle. Users say where
 * to search (`--irmap-scan-path`); after that come directories that daemons usually watch.
 */
import { asStasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { S_IF } from '../kernel/constants/files.ts';
import { namesIn } from '../kernel/files.ts';
import { tellsOfNothing } from '../kernel/proc/tree.ts';
import { statusAt } from '../kernel/statx.ts';

/** Directories that are often watched. */
const USUAL = [
  '/etc',
  '/var/spool',
  '/var/log',
  '/usr/share/dbus-1',
  '/usr/share/polkit-1',
  '/var/lib/polkit-1',
  '/lib/udev',
];

/**
 * A path of the inode (`dev` is major << 20 | minor) below `places` or the usual directories; undefined if there is
 * none. Symbolic links are not followed.
 */
export function searchInode(dev: number, ino: bigint, places: readonly string[]): string | undefined {
  for (const place of [...places, ...USUAL]) {
    const found = searchBelow(place, dev, ino);
    if (found !== undefined) return found;
  }
  return undefined;
}

function searchBelow(path: string, dev: number, ino: bigint): string | undefined {
  const status = statusAt(path);
  if (!status) return undefined;
  if (status.dev === dev && BigInt(status.ino) === ino) return path;
  if ((status.mode & S_IF.MT) !== S_IF.DIR) return undefined;
  for (const name of namesBelow(path)) {
    const found = searchBelow(`${path === '/' ? '' : path}/${name}`, dev, ino);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The names in a directory; none if it does not exist any more, or cannot be read, which is logged. */
function namesBelow(path: string): string[] {
  try {
    return namesIn(path);
  } catch (error) {
    if (!tellsOfNothing(error)) logWarn('irmap.ts', `not searched for watched files: ${asStasisError(error).message}`);
    return [];
  }
}
