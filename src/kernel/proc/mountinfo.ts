/**
 * `/proc/PID/mountinfo` (fs/proc_namespace.c, `show_mountinfo()`; fields in Documentation/filesystems/proc.rst, 3.5).
 *
 * Blanks, newlines, backslashes (and `#`) in names are printed as octal escapes, so blanks always separate fields.
 */

import { decimal, linesOf, malformed, textOf, unescapeOctal } from './common.ts';

/** One mount. */
export interface MountInfo {
  readonly mountId: number;
  readonly parentId: number;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Path inside the file system that is the root of this mount; for nsfs mounts, `net:[4026531840]`. */
  readonly root: string;
  /** The root ends with `//deleted`: the mounted directory or file was removed. `root` is given without it. */
  readonly rootDeleted: boolean;
  /** The mount point, relative to the root directory of the process. */
  readonly mountPoint: string;
  /** Options of the mount, as `rw`, `nosuid`. */
  readonly options: readonly string[];
  /** Peer group of a shared mount. */
  readonly shared: number | undefined;
  /** Peer group a slave mount receives from. */
  readonly master: number | undefined;
  /** Nearest dominant peer group under the process's root. */
  readonly propagateFrom: number | undefined;
  readonly unbindable: boolean;
  /** Optional fields this parser does not know. */
  readonly otherTags: readonly string[];
  /** File system type, subtype after a dot: `ext4`, `fuse.sshfs`. */
  readonly fsType: string;
  readonly source: string;
  /** Options of the file system (superblock), unescaped, one string: values may hold commas. */
  readonly superOptions: string;
}

const FILE = '/proc/PID/mountinfo';
const ROOT_DELETED = '//deleted';

/**
 * Parses all mounts, in the file's order (parents mostly, not always, before children). Throws `kernel` for another
 * format.
 */
export function parseMountInfo(bytes: Uint8Array): MountInfo[] {
  return linesOf(bytes).map(parseLine);
}

function parseLine(line: string): MountInfo {
  const f = line.split(' ');
  // Six fixed fields, any number of optional ones, a lone hyphen, three more. An empty source leaves an empty field.
  const hyphen = f.indexOf('-', 6);
  if (hyphen < 0 || f.length < hyphen + 4) throw malformed(FILE, JSON.stringify(line));
  const [major, minor] = (f[2] as string).split(':');
  const root = nameOf(f[3] as string);
  const rootDeleted = root.endsWith(ROOT_DELETED);
  return {
    mountId: decimal(f[0], FILE),
    parentId: decimal(f[1], FILE),
    devMajor: decimal(major, FILE),
    devMinor: decimal(minor, FILE),
    root: rootDeleted ? root.slice(0, -ROOT_DELETED.length) : root,
    rootDeleted,
    mountPoint: nameOf(f[4] as string),
    options: (f[5] as string).split(','),
    ...optionalTags(f.slice(6, hyphen)),
    fsType: nameOf(f[hyphen + 1] as string),
    source: nameOf(f[hyphen + 2] as string),
    superOptions: nameOf(f.slice(hyphen + 3).join(' ')),
  };
}

function optionalTags(tags: string[]) {
  let shared: number | undefined;
  let master: number | undefined;
  let propagateFrom: number | undefined;
  let unbindable = false;
  const otherTags: string[] = [];
  for (const tag of tags) {
    const [key, value] = tag.split(':');
    if (key === 'shared') shared = decimal(value, FILE);
    else if (key === 'master') master = decimal(value, FILE);
    else if (key === 'propagate_from') propagateFrom = decimal(value, FILE);
    else if (tag === 'unbindable') unbindable = true;
    else otherTags.push(tag);
  }
  return { shared, master, propagateFrom, unbindable, otherTags };
}

const nameOf = (piece: string): string => textOf(unescapeOctal(piece));
