/** Where the archives of `--to` and `--from` are, as the options say it. */
import { StasisError } from '../base/errors.ts';
import type { ArchiveOptions } from '../engine/archive.ts';
import type { Settings } from './settings.ts';

const [STDIN, STDOUT] = [0, 1];

/** The archive that a dump writes. @throws StasisError (usage) for options that contradict each other */
export function archiveOfDump({ to, spool, encrypt, pageServer, autoDedup, lazyPages }: Settings): ArchiveOptions {
  if (to === undefined && encrypt !== undefined) throw cannot('--encrypt', 'is for dumps into one file (--to)');
  if (to === undefined) throw cannot('--spool', 'is for dumps into one file (--to)');
  if (pageServer) throw cannot('--page-server', 'cannot be used with --to: pages go into the file');
  if (lazyPages) throw cannot('--lazy-pages', 'cannot be used with --to: a lazy-pages daemon reads no archive');
  if (autoDedup) {
    throw cannot('--auto-dedup', 'cannot be used with --to: the previous images may be needed where the file is not');
  }
  return { place: to === '-' ? { descriptor: STDOUT } : { path: to }, spool, keyFile: encrypt };
}

/** The archive that a restore reads. @throws StasisError (usage) if none is named */
export function archiveOfRestore({ from, spool, encrypt }: Settings): ArchiveOptions {
  if (from === undefined && encrypt !== undefined) throw cannot('--encrypt', 'is for restores from one file (--from)');
  if (from === undefined) throw cannot('--spool', 'is for restores from one file (--from)');
  return { place: from === '-' ? { descriptor: STDIN } : { path: from }, spool, keyFile: encrypt };
}

/** @throws StasisError (usage) where images are to be brought later, or freed, that are in an archive or needed */
export function requireTogether({ from, lazyPages, autoDedup }: Settings): void {
  if (autoDedup && lazyPages) throw cannot('--auto-dedup', 'a lazy-pages daemon needs the images after the restore');
  if (autoDedup && from !== undefined) throw cannot('--auto-dedup', 'nothing of an archive is freed');
  if (!lazyPages || from === undefined) return;
  const reason = 'a lazy-pages daemon reads no archive';
  throw new StasisError({ kind: 'usage', resource: '--lazy-pages', reason, remedy: 'unpack it, and restore with -D' });
}

function cannot(resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy: 'leave it out' });
}
