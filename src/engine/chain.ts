/** Chains of dumps: what the images of the previous one are for this one. */
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { Part } from '../base/part.ts';
import { ImageSet } from '../images/image-set.ts';
import { disk } from '../kernel/disk.ts';
import type { Tracking } from '../memory/tracking/tracking.ts';

const TRACKING = new Part(
  () => require('../memory/tracking/tracking.ts') as typeof import('../memory/tracking/tracking.ts'),
);

/** How a dump belongs to a chain. */
export interface ChainOptions {
  readonly imagesDir: string;
  /** The images of the previous dump: a directory, relative to the images of this one. */
  readonly previous: string | undefined;
  /** Whether the next dump is to know what has changed since this one. */
  readonly trackMem: boolean;
}

/**
 * Begins what a dump of a chain needs, before the tree is frozen; undefined for a dump on its own.
 * @throws StasisError if the previous images are missing or damaged, or the kernel cannot notice writes
 */
export function beginTracking(root: HostPid, { imagesDir, previous, trackMem }: ChainOptions): Tracking | undefined {
  const parent = previous === undefined ? undefined : openPrevious(imagesDir, previous);
  if (!parent && !trackMem) return undefined;
  const memory = TRACKING.load();
  const why = trackMem ? memory.whyNoTracking() : undefined;
  if (why !== undefined) {
    throw new StasisError({ kind: 'kernel', resource: '--track-mem', reason: why, remedy: 'leave it out' });
  }
  return new memory.Tracking({ root, parent, renews: trackMem });
}

function openPrevious(imagesDir: string, previous: string): ImageSet {
  const dir = previous.startsWith('/') ? previous : `${imagesDir}/${previous}`;
  if (!disk.status(dir)) {
    const remedy = 'it counts from the images directory (-D)';
    throw new StasisError({ kind: 'usage', resource: dir, reason: 'there are no images of a previous dump', remedy });
  }
  const images = new ImageSet(dir, undefined, disk);
  images.inventory();
  return images;
}

/** What the user is told of a chain that begins anew. */
export const NOT_CONTINUED = {
  resource: '--prev-images-dir',
  reason: 'nobody has noticed what has changed since the previous dump: all memory is saved',
  remedy: 'make the previous dump with --track-mem on this machine, and none of the same tree in between',
} as const;
