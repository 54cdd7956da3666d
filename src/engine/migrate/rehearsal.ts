/**
 * A rehearsal: before the first round the source dumps a small process that it has started for that, and the target
 * restores it and gives it up. Code that runs for the first time takes several times as long as later, and what it has
 * to do at last it does while the tree stands still. What fails here is left out.
 */
import { StasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import { disk } from '../../kernel/disk.ts';
import { IdleProcess } from '../../support/idle-process.ts';
import { watchAgain } from '../../tracee/interruption.ts';
import { type DumpOptions, dump } from '../dump/dump.ts';
import type { HookEvent } from '../hooks.ts';
import { type RestoreOptions, restore } from '../restore/restore.ts';

/** Dumps a process of ours into a directory. Returns whether its images are there. */
export function rehearseDump(options: Omit<DumpOptions, 'pid' | 'imagesDir' | 'workDir'>, dir: string): boolean {
  try {
    using idle = new IdleProcess();
    disk.makeDirectory(dir);
    dump({ ...options, pid: idle.pid, imagesDir: dir, workDir: dir, finalState: 'dead' });
    return true;
  } catch (error) {
    logDebug(`no rehearsal: ${String(error)}`);
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
