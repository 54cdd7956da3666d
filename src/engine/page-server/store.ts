/** The images that a page server writes: of each task or segment a pagemap and a pages file. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { LocalFd } from '../../base/brands.ts';
import type { PageRange } from '../../contract/contract.ts';
import { ImageSet } from '../../images/image-set.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { Images } from '../../images/kinds.ts';
import { PageFlags, type PageRun } from '../../images/pagemap.ts';
import { disk } from '../../kernel/disk.ts';
import { Fd } from '../../kernel/syscall.ts';
import type { PageTarget } from '../../memory/page-server/protocol.ts';
import { addRange, endOf, firstBehind } from '../../memory/plan/ranges.ts';
import { parentOf } from '../../support/page-store.ts';

/** Pages files of a page server have numbers from here on, so that they go with those that the dump itself writes. */
const FIRST_ID = 0x10001;

/** The images of one connection. */
export class PageImages implements Disposable {
  readonly #images: ImageSetWriter;
  readonly #previous: string | undefined;
  readonly #seen = new Set<string>();
  #isLinked = false;
  #nextId = FIRST_ID;
  #current: PagesOfTarget | undefined;

  /** `previous`: the images of the previous dump, relative to these; undefined: those that `parent` names. */
  constructor(images: ImageSetWriter, previous: string | undefined) {
    this.#images = images;
    this.#previous = previous;
  }

  /** What was opened last. */
  get current(): PagesOfTarget | undefined {
    return this.#current;
  }

  /** Whether a target was opened before. */
  wasOpened(target: PageTarget): boolean {
    return this.#seen.has(nameOf(target));
  }

  /** Whether the previous dump has a target. @throws ImageError if what it has is damaged */
  hasParent(target: PageTarget): boolean {
    return this.#inherited(target) !== undefined;
  }

  /** Begins with a target. @throws StasisError */
  open(target: PageTarget): PagesOfTarget {
    this.#finishCurrent();
    this.#seen.add(nameOf(target));
    const inherited = this.#inherited(target);
    const id = this.#nextId++;
    const name = `pages-${id}.img`;
    const file = new Fd(this.#images.create(name));
    this.#current = new PagesOfTarget(target, id, file, `${this.#images.dir}/${name}`, inherited);
    return this.#current;
  }

  /** Completes the images. @throws StasisError */
  finish(): void {
    this.#finishCurrent();
  }

  /** From now on they are not removed. */
  keep(): void {
    this.#images.keep();
  }

  #finishCurrent(): void {
    const done = this.#current;
    if (!done) return;
    this.#current = undefined;
    using _ = done;
    this.#images.writePagemap(kindOf(done.target), done.target.id, { pagesId: done.pagesId, runs: done.runs });
  }

  /** All pages that the previous dump has of a target, in whatever images; undefined if it does not know it. */
  #inherited(target: PageTarget): readonly PageRange[] | undefined {
    // Not before somebody sends something, so that nothing is changed until then.
    if (this.#previous !== undefined && !this.#isLinked) this.#images.linkParent(this.#previous);
    this.#isLinked = true;
    const parent = parentOf(new ImageSet(this.#images.dir, undefined, disk));
    const map = parent?.readPagemap(kindOf(target), target.id);
    if (!map) return undefined;
    const ranges: PageRange[] = [];
    for (const { start, pages } of map.runs) addRange(ranges, start, pages * PAGE_SIZE);
    return ranges;
  }

  [Symbol.dispose](): void {
    this.#current?.[Symbol.dispose]();
  }
}

/** The pages of one task or segment. */
export class PagesOfTarget implements Disposable {
  readonly target: PageTarget;
  readonly pagesId: number;
  readonly path: string;
  readonly runs: PageRun[] = [];
  readonly #file: Fd;
  /** What the previous dump has; undefined if it does not know the target. */
  readonly #inherited: readonly PageRange[] | undefined;

  constructor(
    target: PageTarget,
    pagesId: number,
    file: Fd,
    path: string,
    inherited: readonly PageRange[] | undefined,
  ) {
    this.target = target;
    this.pagesId = pagesId;
    this.#file = file;
    this.path = path;
    this.#inherited = inherited;
  }

  get file(): LocalFd {
    return this.#file.number;
  }

  get hasParent(): boolean {
    return this.#inherited !== undefined;
  }

  /** The address behind the last page. */
  get end(): number {
    const last = this.runs.at(-1);
    return last ? last.start + last.pages * PAGE_SIZE : 0;
  }

  /** The first page of a run that the previous dump does not have; undefined if it has all. */
  missingInParent(start: number, pages: number): number | undefined {
    const end = start + pages * PAGE_SIZE;
    const ranges = this.#inherited ?? [];
    // Ranges that touch are one.
    const range = ranges[firstBehind(ranges, start)];
    if (!range || range.start > start) return start;
    return endOf(range) < end ? endOf(range) : undefined;
  }

  /** Adds a run, or lengthens the last one. */
  add(start: number, pages: number, flags: number): void {
    const last = this.runs.at(-1);
    if (last && last.flags === flags && this.end === start) {
      this.runs[this.runs.length - 1] = { start: last.start, pages: last.pages + pages, flags };
    } else this.runs.push({ start, pages, flags });
  }

  /** How many pages are stored here, not in the parent. */
  get stored(): number {
    return this.runs.reduce((sum, { pages, flags }) => sum + (flags & PageFlags.PRESENT ? pages : 0), 0);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

function kindOf({ of }: PageTarget): typeof Images.pagemap | typeof Images.shmemPagemap {
  return of === 'task' ? Images.pagemap : Images.shmemPagemap;
}

/** What a target is called in errors: `task 4711`. */
export function nameOf({ of, id }: PageTarget): string {
  return `${of} ${id}`;
}
