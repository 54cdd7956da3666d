/** The contents of file systems that live in memory, as archives in the images. */
import type { LocalFd } from '../../base/brands.ts';
import type { DumpContext, RestoreContext, SeenNamespace } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { ImageError } from '../../images/error.ts';
import { imageName } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import { mountNew } from '../../kernel/mounts.ts';
import { Fd } from '../../kernel/syscall.ts';
import { openArchive, readArchive } from '../../support/tar/read.ts';
import { writeArchive } from '../../support/tar/write.ts';
import { SEEN_NAMESPACES } from '../seen.ts';
import { isSaved } from './filesystems.ts';
import { isGiven, type Mount } from './mount.ts';
import { bareCopy, covered } from './reach.ts';
import { MACHINE_MOUNTS, otherMounts, SEEN_MOUNTS } from './seen.ts';

/** The file systems that are saved already. */
const SAVED = new Slot((_: DumpContext) => new Set<number>());

/**
 * Of the file systems of a namespace whose contents are saved a mount that shows all of it, by device; undefined if
 * there is none, neither here nor in one of the `others`.
 */
export function savedFrom(mounts: readonly Mount[], others: readonly Mount[]): Map<number, Mount | undefined> {
  const all = [...mounts, ...others];
  const saved = mounts.filter((mount) => isSaved(mount) && !isGiven(mount, all));
  const isWhole = (mount: Mount): boolean => mount.root === '/' && !mount.deleted;
  return new Map(saved.map(({ dev }) => [dev, all.find((mount) => mount.dev === dev && isWhole(mount))]));
}

/** Saves the contents of the file systems of a namespace, each once. */
export function captureContents(namespace: SeenNamespace, context: DumpContext): void {
  const { tree } = context;
  const { mounts } = SEEN_MOUNTS.of(tree, namespace);
  const saved = SAVED.of(context);
  for (const [dev, mount] of savedFrom(mounts, otherMounts(tree, namespace))) {
    if (!mount || saved.has(dev)) continue;
    saved.add(dev);
    const owner = SEEN_NAMESPACES.of(tree).others.find((other) => {
      return other.name === 'mnt' && SEEN_MOUNTS.of(tree, other).mounts.includes(mount);
    });
    if (!owner) continue;
    using root =
      bareCopy(mount, SEEN_MOUNTS.of(tree, owner).mounts, owner, MACHINE_MOUNTS.of(tree)) ?? outOfReach(mount, tree);
    using image = new Fd(context.images.create(imageName(Images.tmpfsDev, dev)));
    writeArchive(root.number, image.number, tree.ids);
  }
}

/**
 * What stands for the contents of a file system that nobody can reach any more: an empty one. @throws StasisError if
 * something is open on it
 */
function outOfReach(mount: Mount, tree: DumpContext['tree']): Fd {
  const isOpen = tree.tasks.some(({ fds }) => fds.some(({ mntId }) => mntId === mount.id));
  return isOpen ? covered(mount) : mountNew('tmpfs');
}

/** Fills a file system that was mounted again. @throws ImageError if its archive is missing */
export function restoreContents(mount: Mount, at: LocalFd, context: RestoreContext): void {
  if (!isSaved(mount)) return;
  const names = [imageName(Images.tmpfsDev, mount.dev), imageName(Images.tmpfsImg, mount.id)];
  for (const name of names) {
    using archive = openArchive(context.images.pathOf(name));
    if (!archive) continue;
    readArchive(archive.number, at, context.ids);
    return;
  }
  throw new ImageError({ file: names[0] ?? '', reason: 'the contents of a file system are missing' });
}
