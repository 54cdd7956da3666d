/** Image sets in one file (`--to`, `--from`). */
import { Part } from '../base/part.ts';
import type { Disk } from '../images/disk.ts';
import type { PagesElsewhere } from '../memory/sinks/sink.ts';
import type { ArchiveReader } from '../support/archive/reader.ts';
import type { ArchivePlace } from '../support/archive/target.ts';
import type { ArchiveWriter } from '../support/archive/writer.ts';

const WRITING = new Part(() => ({
  ...(require('../support/archive/writer.ts') as typeof import('../support/archive/writer.ts')),
  ...(require('../memory/sinks/archive.ts') as typeof import('../memory/sinks/archive.ts')),
}));
const READING = new Part(
  () => require('../support/archive/reader.ts') as typeof import('../support/archive/reader.ts'),
);

const SEALING = new Part(() => require('../support/archive/seal.ts') as typeof import('../support/archive/seal.ts'));

/** Where an archive is, and a directory for what cannot be brought to its place at once. */
export interface ArchiveOptions {
  readonly place: ArchivePlace;
  readonly spool: string | undefined;
  /** The file of the key that it is encrypted with; undefined: it is not. */
  readonly keyFile: string | undefined;
}

/** The key of an archive, if it has one. @throws StasisError */
function keyOf({ keyFile }: ArchiveOptions): Uint8Array | undefined {
  return keyFile === undefined ? undefined : SEALING.load().readKey(keyFile);
}

/** Opens the archive that a dump writes, if it writes one. @throws StasisError */
export function openArchive(options: ArchiveOptions | undefined): ArchiveWriter | undefined {
  return options && new (WRITING.load().ArchiveWriter)(options.place, options.spool, keyOf(options));
}

/** Who stores the pages of a dump into an archive. */
export function pagesOfArchive(archive: ArchiveWriter): PagesElsewhere {
  return new (WRITING.load().ArchivePages)(archive);
}

/** Opens the archive that a restore reads, as a disk with its files in `dir`. @throws StasisError */
export function readArchive(options: ArchiveOptions, dir: string): ArchiveReader & { readonly disk: Disk } {
  return new (READING.load().ArchiveReader)(options.place, dir, options.spool, keyOf(options));
}
