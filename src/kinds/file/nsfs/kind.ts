/**
 * Descriptors of namespaces (/proc/PID/ns/*): of those of Stasis itself, which exist again at the restore; of those
 * that processes of the tree are in, or that nobody but the tree keeps, which are made again; and of those that are
 * mounted on files of the machine, which are opened by these.
 */
import { type LocalFd, localFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { FileDoors, NamespaceName, OpenFile, SeenTree } from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import { text } from '../../../images/form.ts';
import { NAMESPACE_TYPES, OUR_NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { NS_GET } from '../../../kernel/constants/namespaces.ts';
import { arenaPath, describeErrno, Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { enterNamespace } from '../../../namespaces/enter.ts';
import { namespaceBehind, OUTSIDE_KEEPER } from '../../../namespaces/held.ts';
import { atHome, NAMESPACE_FLAGS, openNamespace } from '../../../namespaces/inside.ts';
import { MADE_NAMESPACES, wasOurs } from '../../../namespaces/made.ts';
import { ownInode, SEEN_NAMESPACES } from '../../../namespaces/seen.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { notedFile, noteFile } from '../../../support/file-notes.ts';
import { imageFlags } from '../../../support/fown.ts';
import { Batch } from '../../../tracee/batch.ts';
import { Seed } from '../../../tracee/seed.ts';

/** The ID of a namespace in the images; undefined if it is not carried. */
function idOf(file: OpenFile, tree: SeenTree): number | undefined {
  const found = namespaceBehind(file);
  if (!found) return undefined;
  const { name, ino } = found;
  return ino === ownInode(name) ? OUR_NAMESPACE_IDS[name] : SEEN_NAMESPACES.of(tree).withInode(name, ino)?.id;
}

/** How a process outside of the tree keeps a namespace. */
const OUTSIDE = {
  member: 'is in this namespace',
  open: 'has this namespace open as well',
  mount: 'is in a mount namespace where this namespace is mounted',
};

/** Namespaces. */
export const nsfs: FileDoors = {
  obstacle(file, { tree }) {
    if (idOf(file, tree) !== undefined) return undefined;
    const keeper = OUTSIDE_KEEPER.of(tree, file.link);
    if (keeper && 'path' in keeper) return undefined;
    const refuse = (reason: string, remedy: string): StasisError =>
      fileObstacle(file, 'NAMESPACE_DESCRIPTOR', reason, remedy);
    const close = 'have the program close it before the dump';
    if (!keeper) {
      return refuse('no process of the tree is in this namespace, and one of this type is not carried then', close);
    }
    const { name, ino } = namespaceBehind(file) ?? {};
    const what = OUTSIDE[keeper.by];
    const give = name === 'net' ? `, or give one at the restore: --external 'net[${ino}]:NAME'` : '';
    return refuse(`a process outside of the tree (${keeper.pid}) ${what}`, `${close}${give}`);
  },

  capture(file, id, context) {
    const { tree } = context;
    const name = namespaceBehind(file)?.name;
    if (!name) throw new StasisError({ kind: 'internal', reason: `${file.link} is no namespace` });
    const namespace = idOf(file, tree);
    if (namespace === undefined) {
      const keeper = OUTSIDE_KEEPER.of(tree, file.link);
      if (!keeper || !('path' in keeper)) {
        throw new StasisError({ kind: 'internal', reason: `${file.link} is no namespace that is carried` });
      }
      noteFile(context, BOUND, id, keeper.path);
    }
    const flag = Number(NAMESPACE_FLAGS[name]);
    return { nsf: { id, ns_id: namespace ?? NOWHERE, ns_cflag: flag, flags: imageFlags(file.flags) } };
  },

  rebuild(entry, context) {
    const { ns_cflag: flag, ns_id: id = NOWHERE } = entry.nsf ?? {};
    const name = NAMESPACE_TYPES.find((candidate) => Number(NAMESPACE_FLAGS[candidate]) === flag);
    const fault = (reason: string): ImageError =>
      new ImageError({ file: 'files.img', reason: `file ${entry.id}: ${reason}` });
    if (!name) throw fault('no such type of namespace');
    const path = notedFile(context, BOUND, entry.id, text);
    if (path !== undefined) return atHome(() => openBound(path, name));
    const made = MADE_NAMESPACES.of(context).get(name, id);
    if (!made && !wasOurs(context, name, id)) throw fault(`no ${name} namespace ${id}`);
    return atHome(() => open(made ? `/proc/self/fd/${made.fd}` : `/proc/self/ns/${name}`));
  },
};

/** The note on a namespace that is mounted on a file of the machine: the path of that. */
const BOUND = 'bound namespace';

/** The ID of no namespace. */
const NOWHERE = 0;

function open(path: string): LocalFd {
  return localFd(syscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC));
}

/**
 * Opens a namespace that is mounted on a file of the machine, by way of a process in it: whoever has a file of a mount
 * open keeps that from being unmounted. @throws StasisError if there is none
 */
function openBound(path: string, name: NamespaceName): LocalFd {
  // Something else may be there now, such as a FIFO.
  const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC | O.NONBLOCK | O.NOCTTY);
  if (opened >= 0) {
    using bound = new Fd(opened);
    const flag = NAMESPACE_FLAGS[name];
    if (BigInt(trySyscall('ioctl', opened, NS_GET.NSTYPE, 0)) === flag) {
      using seed = Seed.anywhere();
      enterNamespace({ seed, batch: new Batch(seed.remote) }, flag, bound.number);
      const own = openNamespace(seed.tracee.pid, name === 'pid' ? 'pid_for_children' : name);
      return localFd(own.release());
    }
  }
  throw new StasisError({
    kind: 'conflict',
    code: 'NAMESPACE_EXTERNAL',
    resource: path,
    reason: `the tree had a ${name} namespace open that was mounted on this file; ${
      opened < 0 ? `it cannot be opened: ${describeErrno(-opened)}` : 'none is mounted there now'
    }`,
    remedy: `mount one there: ip netns add, or mount --bind /proc/PID/ns/${name} ${path}`,
  });
}
