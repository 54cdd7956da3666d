/** Which contents of a store its snapshots need. */
import { requireUninterrupted } from '../tracee/interruption.ts';
import type { Contents } from './contents.ts';
import { rootOf, type Snapshot } from './snapshots.ts';
import { digestsIn, type Root } from './tree.ts';

/** How a content was met: as one of a file, and as a node of a tree, below which all is marked then. */
const [LEAF, NODE] = [1, 2];

/** Not 0 for each content, by its number, that one of the snapshots needs. @throws ImageError if some are missing */
export function markNeeded(contents: Contents, snapshots: readonly Snapshot[]): Uint8Array {
  const marks = new Uint8Array(contents.size);
  for (const { name, files } of snapshots) {
    requireUninterrupted();
    for (const file of files) {
      const root = rootOf(file);
      if (root) mark(root, `${name}: ${file.path}`, contents, marks);
    }
  }
  return marks;
}

function mark({ digest, levels }: Root, file: string, contents: Contents, marks: Uint8Array): void {
  const number = contents.numberOf(digest, file);
  if (number === undefined) return;
  const as = levels === 0 ? LEAF : NODE;
  const before = marks[number] as number; // number < size
  if (before & as) return;
  marks[number] = before | as;
  if (levels === 0) return;
  const node = contents.get(digest, file).slice(); // what is read below it overwrites the buffer
  for (const child of digestsIn(node)) mark({ digest: child, levels: levels - 1 }, file, contents, marks);
}
