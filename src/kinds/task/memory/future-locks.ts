/**
 * Whether memory that a process maps later is locked at once (mlockall(2) with MCL_FUTURE). That is in no file of
 * /proc, but our work area in the process is such memory.
 */
import { PAGE_SIZE } from '../../../arch/page-size.ts';
import type { DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { MCL, MS } from '../../../kernel/constants/memory.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseSmaps } from '../../../kernel/proc/smaps.ts';
import { ERRNO } from '../../../kernel/syscall.ts';
import type { Program } from '../../../tracee/program.ts';

/** Asks with one call: msync(2) with MS_INVALIDATE answers EBUSY for locked memory, and else does nothing to it. */
function capture(task: DumpTask, program: Program): () => void {
  const { area } = program;
  const asked = program.attempt('msync', area, PAGE_SIZE, MS.INVALIDATE);
  return () => {
    if (program.result(asked) !== -ERRNO.EBUSY) return;
    const vma = parseSmaps(readProc(task.pid, 'smaps')).find(({ start, end }) => start <= area && area < end);
    task.ownState.futureLocks = vma?.vmFlags?.has('lf') ? 'onFault' : 'atOnce';
  };
}

/** Phase `state`: all mappings are there, and the process may still lock more than its limit allows. */
function rebuild({ batch, ownState: { futureLocks } }: RestoreTask): void {
  if (futureLocks) batch.call('mlockall', MCL.FUTURE | (futureLocks === 'onFault' ? MCL.ONFAULT : 0));
}

export const futureLocks: TaskKind = { name: 'future-locks', after: ['memory'], capture, rebuild: { state: rebuild } };
