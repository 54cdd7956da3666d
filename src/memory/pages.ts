/** The page store of a dump: the plan for each task and segment, and its transfer into the image set. */

import { PAGE_SIZE } from '../arch/page-size.ts';
import type { HostPid, LocalFd } from '../base/brands.ts';
import { logWarn } from '../base/log.ts';
import type { PageRange, PageStore, TaskPages } from '../contract/contract.ts';
import type { ImageSetWriter } from '../images/image-set-writer.ts';
import { Images } from '../images/kinds.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { PageSums } from './page-sums.ts';
import { LOT_SIZE, type Lot, lotsOf } from './plan/lots.ts';
import { addRun, isStored, keepLazy, type PlannedRun, pagemapRuns, planPages, planSegment } from './plan/page-plan.ts';
import { totalOf } from './plan/ranges.ts';
import { PagesFileSink } from './sinks/pages-file.ts';
import type { PageSink, PagesElsewhere, PagesOf, SinkElsewhere } from './sinks/sink.ts';
import { SegmentSource } from './sources/segment.ts';
import type { PageSource } from './sources/source.ts';
import { StoredTask } from './sources/stored-task.ts';
import { TaskSource } from './sources/task.ts';
import { transfer } from './transfer.ts';

/** The counts of pages for stats-dump. */
export interface PageCounts {
  written: number;
  /** Those that the previous dump has stored. */
  inParent: number;
  /** Those that the tasks have kept. */
  lazy: number;
  sharedWritten: number;
  microseconds: number;
}

/** Pages that a task has kept: its PID here, and which; ascending. */
export interface KeptPages {
  readonly pid: HostPid;
  readonly ranges: readonly PageRange[];
}

/** Who keeps the memory of some tasks as it is, so that it can be stored when they go on. */
export interface KeptMemory {
  /** The memory of a task, which is stopped; undefined if nobody keeps it. @throws StasisError */
  keep(pid: HostPid, pages: TaskPages): (PageSource & Disposable) | undefined;
  /** The same, where it is found out later which pages there are. @throws StasisError */
  keepAll(pid: HostPid): (PageSource & Disposable & { ownPages(vmas: readonly ProcVma[]): PageRange[] }) | undefined;
}

export class Pages implements PageStore {
  readonly counts: PageCounts = { written: 0, inParent: 0, lazy: 0, sharedWritten: 0, microseconds: 0 };
  /** Which pages tasks have kept, by their PIDs in the images; undefined: all pages are stored. */
  readonly kept: Map<number, KeptPages> | undefined;
  readonly #images: ImageSetWriter;
  readonly #elsewhere: PagesElsewhere | undefined;
  readonly #buffer = new PinnedBuffer(new Uint8Array(LOT_SIZE));
  readonly #iovecs = TaskSource.iovecs();
  readonly #sums = new PageSums();
  readonly #stored = new Map<number, StoredTask>();
  #nextId = 1;

  readonly #stepped: ((bytes: number) => void) | undefined;

  readonly #savedPid: (pid: HostPid) => number;
  readonly #keptMemory: KeptMemory | undefined;
  /** What is stored by {@link storeKept}. */
  readonly #later: (() => void)[] = [];

  /**
   * @param savedPid the PID of a task in the images
   * @param elsewhere who stores the pages, if they do not go into the images
   * @param stepped told of each piece of memory that is stored
   * @param keeps whether tasks keep the pages that a restore may leave until they are needed
   * @param keptMemory who keeps the memory of tasks that go on before it is stored
   */
  constructor(
    images: ImageSetWriter,
    savedPid: (pid: HostPid) => number,
    elsewhere?: PagesElsewhere,
    stepped?: (bytes: number) => void,
    keeps = false,
    keptMemory?: KeptMemory,
  ) {
    this.#keptMemory = keptMemory;
    this.kept = keeps ? new Map() : undefined;
    this.#images = images;
    this.#elsewhere = elsewhere;
    this.#savedPid = savedPid;
    this.#stepped = stepped;
  }

  storeTask(pid: HostPid, all: TaskPages): void {
    const kept = this.#keptMemory?.keep(pid, all);
    if (kept) this.#later.push(() => this.#store(pid, all, kept));
    else this.#store(pid, all, new TaskSource(pid, this.#iovecs));
  }

  storeTaskLater(pid: HostPid, vmas: readonly ProcVma[], sort: (own: readonly PageRange[]) => TaskPages): boolean {
    const kept = this.#keptMemory?.keepAll(pid);
    if (kept) this.#later.push(() => this.#store(pid, sort(kept.ownPages(vmas)), kept));
    return kept !== undefined;
  }

  /** Stores the memory of tasks that was kept. They may run meanwhile. @throws StasisError */
  storeKept(): void {
    for (const store of this.#later.splice(0)) store();
  }

  #store(pid: HostPid, all: TaskPages, memory: PageSource & Disposable): void {
    using source = memory;
    const began = performance.now();
    const original = all.same && this.#stored.get(all.same.of);
    using originalFile = original?.open();
    using sink = this.#open({ kind: Images.pagemap, id: this.#savedPid(pid) }, all);
    const pages = whatRemains(sink, all);
    const whole = planPages(pages, original !== undefined);
    const plan = this.kept ? keepLazy(whole, all.lazy ?? []) : whole;
    const stored = plan.filter(isStored);
    sink.begin?.(totalOf(stored));
    const local = sink instanceof PagesFileSink ? sink : undefined;
    const shortcut = (lot: Lot): boolean => {
      const blocks = local && original && originalFile && original.copy(originalFile, local.out, lot);
      if (blocks) local.file.note(lot, blocks);
      return blocks !== undefined;
    };
    transfer(lotsOf(stored), { source, sink, shortcut, buffer: this.#buffer, stepped: this.#stepped });
    sink.finish(pagemapRuns(plan, all.lazy));
    const kept = plan.filter(({ origin }) => origin === 'kept');
    this.kept?.set(this.#savedPid(pid), { pid, ranges: kept });
    this.counts.lazy += totalOf(kept) / PAGE_SIZE;
    this.counts.written += totalOf(stored) / PAGE_SIZE;
    this.counts.inParent += totalOf(pages.inParent ?? []) / PAGE_SIZE;
    if (local) this.#stored.set(pid, new StoredTask(local.path, stored));
    this.counts.microseconds += (performance.now() - began) * 1000;
  }

  /**
   * Stores a task's own pages while it runs. Pages that it has unmapped meanwhile are left out; what it writes
   * meanwhile is for the next dump, whose images do not take such a page from these.
   */
  storeRunning(pid: HostPid, saved: number, all: TaskPages): void {
    using sink = this.#open({ kind: Images.pagemap, id: saved }, all);
    const plan = planPages(whatRemains(sink, all), false);
    const found: PlannedRun[] = [];
    let offset = 0;
    {
      using source = TaskSource.tryOpen(pid, this.#iovecs);
      for (const lot of source ? lotsOf(plan) : []) {
        requireUninterrupted();
        const pieces = source?.readWhatIsThere(lot, this.#buffer) ?? [];
        const length = totalOf(pieces);
        if (length > 0) sink.put({ ...lot, pieces, length, offset }, this.#buffer);
        for (const { start, length } of pieces) addRun(found, start, length);
        offset += length;
        this.#stepped?.(lot.length);
      }
    }
    const inherited = plan.filter((run) => !isStored(run));
    sink.finish(pagemapRuns([...found, ...inherited].sort((a, b) => a.start - b.start)));
    this.counts.written += offset / PAGE_SIZE;
    this.counts.inParent += totalOf(inherited) / PAGE_SIZE;
  }

  storeSegment(id: number | bigint, local: LocalFd, ranges: readonly PageRange[]): void {
    const plan = planSegment(ranges);
    using sink = this.#open({ kind: Images.shmemPagemap, id });
    sink.begin?.(totalOf(plan));
    const source = new SegmentSource(local);
    transfer(lotsOf(plan), { source, sink, buffer: this.#buffer, stepped: this.#stepped });
    sink.finish(pagemapRuns(plan));
    this.counts.sharedWritten += totalOf(plan) / PAGE_SIZE;
  }

  #open(of: PagesOf, { inParent = [], lazy = [] }: Partial<TaskPages> = {}): PageSink | SinkElsewhere {
    if (this.#elsewhere) return this.#elsewhere.open(this.#images, of, inParent, lazy);
    return new PagesFileSink(this.#images, of, this.#nextId++, this.#sums);
  }

  /** Returns when all pages are stored, wherever they are. @throws StasisError if they are not */
  finish(): void {
    this.#elsewhere?.finish();
  }
}

/**
 * Pages without the images of the previous dump: what those have unchanged is stored once more. It is read through
 * /proc/PID/mem, as which all pages can be read.
 */
function whatRemains(sink: PageSink | SinkElsewhere, pages: TaskPages): TaskPages {
  if (!pages.inParent?.length || !('hasParent' in sink) || sink.hasParent) return pages;
  logWarn('pages.ts', 'the page server does not have the previous images of a task: all its memory is sent');
  const hidden = [...pages.hidden, ...pages.inParent].sort((a, b) => a.start - b.start);
  return { ...pages, hidden, inParent: [] };
}
