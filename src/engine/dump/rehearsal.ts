/**
 * A rehearsal of a dump. Code that runs for the first time takes several times as long as later, and most of a dump is
 * done while the tree stands still. So before a tree with much memory is frozen, which is long dumped anyway, a small
 * process of ours is dumped, into memory. What fails here is left out.
 */
import { type HostPid, hostPid } from '../../base/brands.ts';
import { InterruptedError } from '../../base/errors.ts';
import { logDebug, silently } from '../../base/log.ts';
import { O } from '../../kernel/constants/files.ts';
import { openFile } from '../../kernel/files.ts';
import { MemoryDirectory } from '../../support/memory-directory.ts';
import { Workers } from '../../support/workers.ts';
import { bury } from '../../tracee/bury.ts';
import { watchAgain } from '../../tracee/interruption.ts';

/** Seconds after which the process ends by itself. */
const LIFE = '10';

/**
 * Calls `dump` with a process that has no other purpose, and a directory for its images. Both are gone afterwards.
 * @throws InterruptedError
 */
export function rehearse(dump: (pid: HostPid, imagesDir: string) => void): void {
  let pid: number | undefined;
  const began = performance.now();
  try {
    using nothing = openFile('/dev/null', O.RDWR);
    using directory = new MemoryDirectory();
    using workers = new Workers('waited for');
    pid = workers.startOther(['sleep', LIFE], nothing.number, [0, 1, 2], true);
    silently(() => dump(hostPid(pid as number), directory.path)); // set above
  } catch (error) {
    if (error instanceof InterruptedError) throw error;
    logDebug(`no rehearsal: ${String(error)}`);
  } finally {
    if (pid !== undefined) bury(hostPid(pid));
    watchAgain();
  }
  logDebug(`rehearsed in ${(performance.now() - began).toFixed(1)} ms`);
}
