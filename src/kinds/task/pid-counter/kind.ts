/**
 * The number that a PID namespace has given last, from which the next one is counted. Numbers that a restore asks for
 * do not move it (alloc_pid() in kernel/pid.c), so that in a new namespace the next process would be number 2, and the
 * number of one that has just ended would be given again at once: somebody who still means that one meets another.
 */
import { decodeText, encodeText } from '../../../base/text.ts';
import type { DumpTask, RestoreTask } from '../../../contract/contract.ts';
import { Images } from '../../../images/kinds.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { openFile } from '../../../kernel/files.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { isInit, parseStatus } from '../../../kernel/proc/status.ts';
import { handOver } from '../../../tracee/handover.ts';
import type { Program } from '../../../tracee/program.ts';

/** Tells whoever opens it of the namespace of whoever reads it. Writing needs CAP_CHECKPOINT_RESTORE in its owner. */
const LAST_PID = '/proc/sys/kernel/ns_last_pid';
const DIGITS = 16;

/** Has the init of a namespace read the number. Where it has no /proc nothing is noted. */
export function capturePidCounter(task: DumpTask, program: Program): () => void {
  const path = program.data(encodeText(`${LAST_PID}\0`));
  const text = program.space(DIGITS);
  const file = program.attempt('openat', AT.FDCWD, path, O.RDONLY | O.NONBLOCK | O.CLOEXEC, 0);
  const read = program.attempt('read', file, text, DIGITS);
  program.attempt('close', file);
  return () => {
    const length = program.result(read);
    const last = length > 0 ? decodeText(program.bytes(text, length)).trim() : '';
    if (/^\d{1,7}$/.test(last)) task.ownState.lastPid = Number(last);
  };
}

/**
 * Has the init of a new namespace set the number, or the highest of its processes if it is not known. A namespace that
 * was there before goes on as it is.
 */
export function rebuildPidCounter(task: RestoreTask): void {
  const last = lastOf(task);
  if (last <= 1 || !isInit(parseStatus(readProc(task.tracee.pid, 'status')))) return;
  using file = openFile(LAST_PID, O.WRONLY);
  task.batch.flush();
  const [fd = -1] = handOver(task.seed, task.batch, [file.number]);
  const digits = encodeText(String(last));
  const program = task.batch.reserve(2, digits.length);
  // Without the right to, or if the number is above the limit here, the kernel counts as it would have.
  program.attempt('write', fd, program.data(digits), digits.length);
  program.call('close', fd);
  task.batch.flush();
}

function lastOf({ ownState, pid, context }: RestoreTask): number {
  if (ownState.lastPid !== undefined) return ownState.lastPid;
  if (pid !== 1) return 0;
  const numbers = context.images.read(Images.pstree).flatMap(({ threads }) => threads);
  return numbers.reduce((most, number) => Math.max(most, number), 0);
}
