/**
 * A rehearsal of a dump. Code that runs for the first time takes several times as long as later, and most of a dump is
 * done while the tree stands still. So before a tree with much memory is frozen, which is long dumped anyway, a small
 * process of ours is dumped, into memory. What fails here is left out.
 */
import { hostPid } from '../../base/brands.ts';
import { InterruptedError } from '../../base/errors.ts';
import { logDebug, silently } from '../../base/log.ts';
import { O } from '../../kernel/constants/files.ts';
import { openFile } from '../../kernel/files.ts';
import { MemoryDirectory } from '../../support/memory-directory.ts';
import { Workers } from '../../support/workers.ts';
import { bury } from '../../tracee/bury.ts';
import { watchAgain } from '../../tracee/interruption.ts';
import type { DumpOptions } from './dump.ts';

/** What such a process has no use for. */
const PLAIN = { previous: undefined, trackMem: false, freezeCgroup: undefined, autoDedup: false, compress: false };

/** Seconds after which the process ends by itself. */
const LIFE = '10';

/**
 * Calls `dump` with the options for a process that has no other purpose, and a directory for its images, both of which
 * are gone afterwards.
 * @throws InterruptedError
 */
export function rehearse({ carry, ...options }: DumpOptions, dump: (rehearsed: DumpOptions) => void): void {
  let pid: number | undefined;
  const began = performance.now();
  try {
    using nothing = openFile('/dev/null', O.RDWR);
    using directory = new MemoryDirectory();
    using workers = new Workers('waited for');
    pid = workers.startOther(['sleep', LIFE], nothing.number, [0, 1, 2], true);
    const place = { pid: hostPid(pid), imagesDir: directory.path, workDir: directory.path };
    silently(() => dump({ ...options, ...PLAIN, ...place, carry: { ...carry, shellJob: false } }));
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    logDebug(`no rehearsal: ${String(error)}`);
  } finally {
    if (pid !== undefined) bury(hostPid(pid));
    watchAgain();
  }
  logDebug(`rehearsed in ${(performance.now() - began).toFixed(1)} ms`);
}
