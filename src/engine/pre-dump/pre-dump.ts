/**
 * A pre-dump: saves the memory of a tree that goes on, for a dump that follows. The tree is stopped only until it is
 * known which pages have to be saved, and from when on writes are noticed. The pages are read while it runs again: what
 * is written meanwhile is noticed, and saved by the next one.
 */
import type { HostPid } from '../../base/brands.ts';
import { logDebug, logInfo } from '../../base/log.ts';
import { Notices } from '../../base/notice.ts';
import type { TaskPages } from '../../contract/contract.ts';
import { ImageSetWriter } from '../../images/image-set-writer.ts';
import { disk } from '../../kernel/disk.ts';
import { requirePageSize } from '../../kernel/page-size.ts';
import type { PageServerPlace } from '../../memory/page-server/client.ts';
import { Pages } from '../../memory/pages.ts';
import type { PagesElsewhere } from '../../memory/sinks/sink.ts';
import type { Tracking } from '../../memory/tracking/tracking.ts';
import { newRunId } from '../../support/run-id.ts';
import { pointOfNoReturn, withOutcome } from '../../tracee/interruption.ts';
import { retryWhileStranded } from '../../tracee/stranded.ts';
import { beginTracking, type ChainOptions, NOT_CONTINUED } from '../chain.ts';
import { dedupAfter } from '../dedup.ts';
import { FrozenTree } from '../dump/freeze/freeze.ts';
import { inventoryBase, uptime } from '../dump/inventory.ts';
import { compressedPages, connectPageServer } from '../elsewhere.ts';
import type { Hooks } from '../hooks.ts';
import type { DumpOutcome } from '../outcome.ts';
import { DumpClock } from '../stats.ts';
import { examineMemory } from './examine.ts';

/** The options of a pre-dump. */
export interface PreDumpOptions extends Omit<ChainOptions, 'trackMem'> {
  readonly pid: HostPid;
  readonly workDir: string;
  /** Seconds the freeze may take. */
  readonly timeout: number;
  /** `--freeze-cgroup`: the directory of a cgroup that has the tree in it. */
  readonly freezeCgroup: string | undefined;
  /** CRIU's number of the mode, for the inventory; both are the same to us. */
  readonly mode: number;
  /** The page server that stores the pages; undefined: they go into the images. */
  readonly pageServer: PageServerPlace | undefined;
  /** Whether to free what the previous images hold in vain when these are complete. */
  readonly autoDedup: boolean;
  /** Whether pages are compressed. */
  readonly compress: boolean;
}

/** The memory of a task that is to be saved. */
export interface TaskMemory {
  readonly pid: HostPid;
  readonly saved: number;
  readonly pages: TaskPages;
}

/**
 * Saves the memory of a tree; whatever happens, the tree goes on.
 * @throws StasisError
 */
export function preDump(options: PreDumpOptions, hooks: Hooks = {}): DumpOutcome {
  requirePageSize();
  hooks.progress?.({ step: 'looking', done: 0, total: 0 });
  using tracking = beginTracking(options.pid, { ...options, trackMem: true });
  using elsewhere = connectPageServer(options.pageServer);
  if (options.compress) compressedPages(); // an error now, if that is not possible
  try {
    const outcome = retryWhileStranded(() => round(options, tracking as Tracking, elsewhere, hooks));
    return options.autoDedup ? dedupAfter(outcome, options.imagesDir) : outcome;
  } catch (error) {
    throw withOutcome(error, `task ${options.pid} and its tree go on, and no images are left`);
  }
}

function round(
  options: PreDumpOptions,
  tracking: Tracking,
  elsewhere: PagesElsewhere | undefined,
  hooks: Hooks,
): DumpOutcome {
  using images = new ImageSetWriter(options.imagesDir, disk);
  const clock = new DumpClock();
  const notices = new Notices();
  hooks.progress?.({ step: 'freezing', done: 0, total: 0 });
  const memory = freezeAndExamine(options, tracking, clock);
  if (options.previous !== undefined) {
    images.linkParent(options.previous);
    if (!tracking.isContinued) notices.add(NOT_CONTINUED);
  }
  const total = memory.reduce((sum, { pages }) => sum + sizeOf(pages), 0);
  let done = 0;
  const pages = new Pages(images, Number, options.compress ? compressedPages() : elsewhere, (bytes) => {
    done += bytes;
    hooks.progress?.({ step: 'memory', done, total: Math.max(total, done) });
  });
  const began = performance.now();
  for (const task of memory) pages.storeRunning(task.pid, task.saved, task.pages);
  pages.finish();
  pages.counts.microseconds = (performance.now() - began) * 1000;
  clock.counted(pages);
  pointOfNoReturn();
  const run = newRunId();
  images.commit({ ...inventoryBase(run), dump_uptime: uptime(), pre_dump_mode: options.mode });
  tracking.keep(run);
  clock.write(options.workDir, notices);
  logInfo(`the memory of ${memory.length} tasks is saved: ${pages.counts.written} pages`);
  return { exitCode: 0, figures: clock.figures, notices: notices.list };
}

/** Stops the tree for as long as it takes to say which pages are to be saved. */
function freezeAndExamine(options: PreDumpOptions, tracking: Tracking, clock: DumpClock): readonly TaskMemory[] {
  let memory: readonly TaskMemory[];
  {
    using tree = FrozenTree.freeze(options.pid, options);
    clock.frozen();
    memory = examineMemory(tree.processes, tracking);
  }
  clock.released();
  logDebug('the tree goes on');
  return memory;
}

function sizeOf({ plain, hidden }: TaskPages): number {
  return [...plain, ...hidden].reduce((sum, { length }) => sum + length, 0);
}
