/**
 * A rehearsal of a dump. Code that runs for the first time takes several times as long as later, and most of a dump is
 * done while the tree stands still. So before a tree with much memory is frozen, which is long dumped anyway, a small
 * process of ours is dumped, into memory. What fails here is left out.
 */
import { InterruptedError } from '../../base/errors.ts';
import { logDebug, silently } from '../../base/log.ts';
import { IdleProcess } from '../../support/idle-process.ts';
import { MemoryDirectory } from '../../support/memory-directory.ts';
import { watchAgain } from '../../tracee/interruption.ts';
import type { DumpOptions } from './dump.ts';

/** What such a process has no use for. */
const PLAIN = { previous: undefined, trackMem: false, freezeCgroup: undefined, autoDedup: false, compress: false };

/**
 * Calls `dump` with the options for a process that has no other purpose, and a directory for its images, both of which
 * are gone afterwards.
 * @throws InterruptedError
 */
export function rehearse({ carry, ...options }: DumpOptions, dump: (rehearsed: DumpOptions) => void): void {
  const began = performance.now();
  try {
    using directory = new MemoryDirectory();
    using idle = new IdleProcess();
    const place = { pid: idle.pid, imagesDir: directory.path, workDir: directory.path };
    silently(() => dump({ ...options, ...PLAIN, ...place, carry: { ...carry, shellJob: false } }));
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    logDebug(`no rehearsal: ${String(error)}`);
  }
  watchAgain();
  logDebug(`rehearsed in ${(performance.now() - began).toFixed(1)} ms`);
}
