/**
 * Makes a chain of image sets out of one, by hand: part of its pages are put into the set of a dump that might have
 * come before. So restores over chains can be tested with contents in every generation, those of shared memory as well.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PAGE_SIZE } from '../../../src/arch/page-size.ts';
import { PageFlags, type PageRun, readPagemap, writePagemap } from '../../../src/images/pagemap.ts';

/**
 * Moves about half of the pages of a set to a new one beside it, which becomes its parent, and returns its directory.
 */
export function splitOff(dir: string, parent: string): string {
  mkdirSync(parent);
  for (const name of readdirSync(dir)) {
    if (/^pagemap-(shmem-)?\d+\.img$/.test(name)) splitPagemap(dir, parent, name);
  }
  rmSync(join(dir, 'stasis-manifest.json'), { force: true });
  for (const name of ['inventory.img']) writeFileSync(join(parent, name), readFileSync(join(dir, name)));
  rmSync(join(dir, 'parent'), { force: true });
  symlinkSync(`../${basename(parent)}`, join(dir, 'parent'));
  return parent;
}

/** The set that is given to the parent has pages that the child has too: those must not be taken. */
function splitPagemap(dir: string, parent: string, name: string): void {
  const { pagesId, runs } = readPagemap(name, readFileSync(join(dir, name)));
  const pages = readFileSync(join(dir, `pages-${pagesId}.img`));
  const own: Uint8Array[] = [];
  const old: Uint8Array[] = [];
  const ownRuns: PageRun[] = [];
  const oldRuns: PageRun[] = [];
  let offset = 0;
  let turn = 0;
  for (const { start, pages: count, flags } of runs) {
    for (let done = 0; done < count; turn++) {
      const taken = Math.min(count - done, 1 + (turn % 3));
      const content = pages.subarray(offset, offset + taken * PAGE_SIZE);
      const at = start + done * PAGE_SIZE;
      const toParent = turn % 2 === 0;
      oldRuns.push({ start: at, pages: taken, flags: PageFlags.PRESENT });
      old.push(toParent ? content : new Uint8Array(content.length).fill(0xa5));
      ownRuns.push({ start: at, pages: taken, flags: toParent ? PageFlags.PARENT : flags });
      if (!toParent) own.push(content);
      offset += content.length;
      done += taken;
    }
  }
  const put = (to: string, list: readonly Uint8Array[], mapped: readonly PageRun[]): void => {
    writeFileSync(join(to, `pages-${pagesId}.img`), Buffer.concat(list));
    writeFileSync(join(to, name), writePagemap({ pagesId, runs: mapped }));
  };
  put(parent, old, oldRuns);
  put(dir, own, ownRuns);
}

/** Makes a chain of three sets out of one: its pages are in it, in its parent, and in the parent of that. */
export function splitInThree(dir: string): void {
  const parent = splitOff(dir, `${dir}-before`);
  splitOff(parent, `${dir}-first`);
}
