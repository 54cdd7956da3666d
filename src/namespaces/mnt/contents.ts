/** The contents of file systems that live in memory, as archives in the images. */
import type { LocalFd } from '../../base/brands.ts';
import type { DumpContext, RestoreContext, SeenNamespace } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { ImageError } from '../../images/error.ts';
import { imageName } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import { Fd } from '../../kernel/syscall.ts';
import { openArchive, readArchive } from '../../support/tar/read.ts';
import { writeArchive } from '../../support/tar/write.ts';
import { isSaved } from './filesystems.ts';
import type { Mount } from './mount.ts';
import { bareCopy } from './reach.ts';

/** The file systems that are saved already. */
const SAVED = new Slot((_: DumpContext) => new Set<number>());

/** Of file systems whose contents are saved a mount that shows all of it, by device. */
export function savedFrom(mounts: readonly Mount[]): Map<number, Mount | undefined> {
  const found = new Map<number, Mount | undefined>();
  const given = new Set(mounts.filter(({ origin }) => origin !== undefined).map(({ dev }) => dev));
  for (const mount of mounts) {
    if (given.has(mount.dev) || !isSaved(mount)) continue;
    const whole = mount.root === '/' && !mount.deleted ? mount : undefined;
    found.set(mount.dev, found.get(mount.dev) ?? whole);
  }
  return found;
}

/** Saves the contents of the file systems of a namespace, each once. */
export function captureContents(namespace: SeenNamespace, mounts: readonly Mount[], context: DumpContext): void {
  const saved = SAVED.of(context);
  for (const [dev, mount] of savedFrom(mounts)) {
    if (!mount || saved.has(dev)) continue;
    saved.add(dev);
    using root = bareCopy(mount, mounts, namespace);
    using image = new Fd(context.images.create(imageName(Images.tmpfsDev, dev)));
    writeArchive(root.number, image.number);
  }
}

/** Fills a file system that was mounted again. @throws ImageError if its archive is missing */
export function restoreContents(mount: Mount, at: LocalFd, context: RestoreContext): void {
  if (!isSaved(mount)) return;
  const names = [imageName(Images.tmpfsDev, mount.dev), imageName(Images.tmpfsImg, mount.id)];
  for (const name of names) {
    using archive = openArchive(`${context.images.dir}/${name}`);
    if (!archive) continue;
    readArchive(archive.number, at);
    return;
  }
  throw new ImageError({ file: names[0] ?? '', reason: 'the contents of a file system are missing' });
}
