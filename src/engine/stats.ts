/** Times and counts, as `stats-dump` and `stats-restore` hold them. All times are microseconds. */

import { StasisError } from '../base/errors.ts';
import type { Notices } from '../base/notice.ts';
import { writeImage } from '../images/image.ts';
import { writeWhole } from '../images/image-files.ts';
import { imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import type { InputOf } from '../images/message.ts';
import type { statsEntry } from '../images/schema/tree.ts';
import { disk } from '../kernel/disk.ts';
import type { Pages } from '../memory/pages.ts';
import type { DumpFigures, RestoreFigures } from './outcome.ts';

export class DumpClock {
  readonly figures: DumpFigures = {
    freezing: 0,
    frozen: 0,
    memory: 0,
    pages: 0,
    pagesInParent: 0,
    lazyPages: 0,
    sharedPages: 0,
  };
  #since = performance.now();
  #isOver = false;

  /** Records that the tree is frozen. */
  frozen(): void {
    const now = performance.now();
    this.figures.freezing = (now - this.#since) * 1000;
    this.#since = now;
  }

  /** Records the counts of stored pages. */
  counted(pages: Pages): void {
    this.figures.memory = pages.counts.microseconds;
    this.figures.pages = pages.counts.written;
    this.figures.pagesInParent = pages.counts.inParent;
    this.figures.lazyPages = pages.counts.lazy;
    this.figures.sharedPages = pages.counts.sharedWritten;
  }

  /** Records that the tree continues for good, whatever is still to be done. */
  released(): void {
    this.thawed();
    this.#isOver = true;
  }

  /** Records that the tree ends or continues. */
  thawed(): void {
    if (this.#isOver) return;
    this.figures.frozen = (performance.now() - this.#since) * 1000;
  }

  /** Writes `stats-dump` into the work directory, or notices that it cannot. The frozen time is that until now. */
  write(dir: string, notices: Notices): void {
    this.thawed();
    const { figures } = this;
    const whole = (value: number): number => Math.round(value);
    const entry = {
      dump: {
        freezing_time: whole(figures.freezing),
        frozen_time: whole(figures.frozen),
        memdump_time: whole(figures.memory),
        memwrite_time: 0,
        pages_scanned: figures.pages + figures.pagesInParent + figures.lazyPages,
        pages_skipped_parent: figures.pagesInParent,
        pages_written: figures.pages,
        irmap_resolve: 0,
        pages_lazy: figures.lazyPages,
        page_pipes: 0,
        page_pipe_bufs: 0,
        shpages_scanned: figures.sharedPages,
        shpages_skipped_parent: 0,
        shpages_written: figures.sharedPages,
      },
    };
    writeStats(dir, 'dump', entry, notices);
  }
}

/** Writes `stats-restore` into the work directory, or notices that it cannot. */
export function writeRestoreStats(dir: string, figures: RestoreFigures, notices: Notices): void {
  const entry = {
    restore: {
      pages_compared: 0,
      pages_skipped_cow: 0,
      forking_time: Math.round(figures.forking),
      restore_time: Math.round(figures.restore),
      pages_restored: figures.pages,
    },
  };
  writeStats(dir, 'restore', entry, notices);
}

/** Writes a stats image. Statistics are not part of the saved state, so a full disk gives only a notice. */
function writeStats(dir: string, of: 'dump' | 'restore', entry: InputOf<typeof statsEntry>, notices: Notices): void {
  const name = imageName(Images.stats, of);
  try {
    writeWhole(`${dir}/${name}`, writeImage(Images.stats, [entry], name), disk);
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    const remedy = error.remedy && `make room on the file system of the work directory, ${dir}`;
    notices.add({ resource: error.resource, reason: `the figures ${error.reason}`, remedy });
  }
}
