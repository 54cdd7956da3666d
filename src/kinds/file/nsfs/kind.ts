/**
 * Descriptors of namespaces (/proc/PID/ns/*): of those of Stasis itself, which exist again at the restore, and of those
 * that processes of the tree are in, which are made again.
 */
import { localFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { FileKind, NamespaceName, OpenFile, SeenTree } from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import { OUR_NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { parseNsLink } from '../../../kernel/proc/namespaces.ts';
import { arenaPath, syscall } from '../../../kernel/syscall.ts';
import { atHome, NAMESPACE_FLAGS } from '../../../namespaces/inside.ts';
import { MADE_NAMESPACES } from '../../../namespaces/made.ts';
import { NAMESPACE_NAMES, ownInode, SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { imageFlags } from '../../../support/fown.ts';

/** The type and inode number of the namespace behind a file. */
function namespaceBehind({ link }: OpenFile): { readonly name: NamespaceName; readonly ino: number } | undefined {
  const parsed = parseNsLink(link);
  const name = NAMESPACE_NAMES.find((candidate) => candidate === parsed?.type);
  return parsed && name ? { name, ino: parsed.ino } : undefined;
}

/** The ID of a namespace in the images; undefined if it is not carried. */
function idOf(file: OpenFile, tree: SeenTree): number | undefined {
  const found = namespaceBehind(file);
  if (!found) return undefined;
  const { name, ino } = found;
  return ino === ownInode(name) ? OUR_NAMESPACE_IDS[name] : SEEN_NAMESPACES.of(tree).withInode(name, ino)?.id;
}

/** Namespaces. */
export const nsfs: FileKind = {
  name: 'nsfs',
  type: FdTypes.NS,

  recognises: (file) => namespaceBehind(file) !== undefined,

  obstacle(file, { tree }) {
    if (idOf(file, tree) !== undefined) return undefined;
    const reason = 'no process of the tree is in this namespace, nor is Stasis; such a descriptor is not carried yet';
    return fileObstacle(file, 'NAMESPACE_DESCRIPTOR', reason, 'have the program close it before the dump');
  },

  capture(file, id, { tree }) {
    const name = namespaceBehind(file)?.name;
    const namespace = idOf(file, tree);
    if (!name || namespace === undefined) {
      throw new StasisError({ kind: 'internal', reason: `${file.link} is no namespace that is carried` });
    }
    const flag = Number(NAMESPACE_FLAGS[name]);
    return { nsf: { id, ns_id: namespace, ns_cflag: flag, flags: imageFlags(file.flags) } };
  },

  rebuild(entry, context) {
    const { ns_cflag: flag, ns_id: id = 0 } = entry.nsf ?? {};
    const name = NAMESPACE_NAMES.find((candidate) => Number(NAMESPACE_FLAGS[candidate]) === flag);
    if (!name) throw new ImageError({ file: 'files.img', reason: `file ${entry.id}: no such type of namespace` });
    const made = MADE_NAMESPACES.of(context).get(name, id);
    const path = made ? `/proc/self/fd/${made.fd}` : `/proc/self/ns/${name}`;
    return atHome(() => localFd(syscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC)));
  },
};
