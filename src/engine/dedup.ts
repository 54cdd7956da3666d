/** `--auto-dedup` and `dedup`: frees what earlier images of a chain hold in vain, or what was restored. */
import { StasisError } from '../base/errors.ts';
import { Notice, type NoticeFacts } from '../base/notice.ts';
import { Part } from '../base/part.ts';
import { ImageSet } from '../images/image-set.ts';
import { disk } from '../kernel/disk.ts';
import type { DumpOutcome } from './outcome.ts';

const DEDUP = new Part(() => require('../memory/dedup.ts') as typeof import('../memory/dedup.ts'));

/** Frees what the images before those in a directory hold in vain. Returns how many bytes. @throws StasisError */
export function dedup(imagesDir: string): number {
  const images = new ImageSet(imagesDir, undefined, disk);
  if (!disk.status(`${imagesDir}/parent`)) {
    const remedy = 'name with -D the images of a dump that was made with --prev-images-dir';
    const reason = 'there are no images before these';
    throw new StasisError({ kind: 'usage', resource: `${imagesDir}/parent`, reason, remedy });
  }
  return DEDUP.load().freeReplaced(images);
}

/** After a dump: the images are complete, whatever comes of this. */
export function dedupAfter(outcome: DumpOutcome, imagesDir: string): DumpOutcome {
  if (!disk.status(`${imagesDir}/parent`)) return outcome;
  try {
    dedup(imagesDir);
    return outcome;
  } catch (error) {
    const reason = `earlier images hold what they held: ${reasonOf(error)}`;
    const notice = new Notice({ resource: '--auto-dedup', reason });
    return { ...outcome, notices: [...outcome.notices, notice] };
  }
}

/** After a restore: the tasks run, whatever comes of this. Returns what is to be told. */
export function dedupRestored(images: ImageSet): NoticeFacts | undefined {
  try {
    DEDUP.load().freeRestored(images);
    return undefined;
  } catch (error) {
    return { resource: '--auto-dedup', reason: `the images hold what they held: ${reasonOf(error)}` };
  }
}

/** What a failure says of itself. Throws what is none. */
function reasonOf(error: unknown): string {
  if (error instanceof StasisError) return error.message;
  throw error;
}
