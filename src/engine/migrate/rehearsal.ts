/**
 * A rehearsal: before the first round the source dumps a small process that it has started for that, and the target
 * restores it and gives it up. Code that runs for the first time takes several times as long as later, and what it has
 * to do at last it does while the tree stands still. What fails here is left out.
 */
import { hostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import { O } from '../../kernel/constants/files.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { disk } from '../../kernel/disk.ts';
import { openFile } from '../../kernel/files.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { Workers } from '../../support/workers.ts';
import { watchAgain } from '../../tracee/interruption.ts';
import { type DumpOptions, dump } from '../dump/dump.ts';
import type { HookEvent } from '../hooks.ts';
import { type RestoreOptions, restore } from '../restore/restore.ts';

/** Dumps a process of ours into a directory. Returns whether its images are there. */
export function rehearseDump(options: Omit<DumpOptions, 'pid' | 'imagesDir' | 'workDir'>, dir: string): boolean {
  let pid: number | undefined;
  try {
    using nothing = openFile('/dev/null', O.RDWR);
    using workers = new Workers('waited for');
    pid = workers.startOther(['sleep', '60'], nothing.number, [0, 1, 2]);
    disk.makeDirectory(dir);
    dump({ ...options, pid: hostPid(pid), imagesDir: dir, workDir: dir, finalState: 'dead' });
    return true;
  } catch (error) {
    logDebug(`no rehearsal: ${String(error)}`);
    if (pid !== undefined) trySyscall('kill', pid, SIG.KILL);
    return false;
  } finally {
    watchAgain();
  }
}

/** Restores such a process up to its last step; nothing is left of it. */
export function rehearseRestore(options: RestoreOptions): void {
  const at = ({ point }: HookEvent): number => {
    if (point === 'post-restore') throw new StasisError({ kind: 'gone', reason: REHEARSED });
    return 0;
  };
  try {
    restore(options, { at });
  } catch (error) {
    logDebug(`rehearsal: ${String(error)}`);
  } finally {
    watchAgain();
  }
}

const REHEARSED = 'this was a rehearsal';
