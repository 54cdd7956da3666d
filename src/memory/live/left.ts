/** What a Stasis that was killed has left of copies (copy.ts). */
import { type HostPid, hostPid } from '../../base/brands.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';

/** The comm of a copy, at most 15 bytes. */
export const COPY_COMM = 'stasis-copy';

/** Those of some processes, which have ended or are about to, that are copies: their makers do not know of them. */
export function leftCopies(pids: readonly number[]): HostPid[] {
  return pids.map(hostPid).filter((pid) => {
    const stat = unlessGone(() => parseStat(readProc(pid, 'stat')));
    return stat?.comm === COPY_COMM && stat.exitSignal === 0;
  });
}
