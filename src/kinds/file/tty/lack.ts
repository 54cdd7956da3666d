/**
 * Processes without the terminal that their session has. Each process has its own reference to the terminal
 * (`signal->tty`): children get it by fork, so a process that was born before the leader got the terminal has none, nor
 * has one that gave it up (TIOCNOTTY).
 */
import { STDIN } from '../../../base/brands.ts';
import type { RestoreTask } from '../../../contract/contract.ts';
import { TTY_IOCTL } from '../../../kernel/constants/tty.ts';
import { handOver } from '../../../tracee/handover.ts';
import { withSlaveOf } from './control.ts';
import { terminalsOf } from './rebuild.ts';

/** The number of a descriptor of /dev/tty, which stands for the process's terminal. */
function ownDescriptor({ fds, context }: RestoreTask): number | undefined {
  return fds.find(({ id }) => terminalsOf(context).byId.get(id)?.role === 'current')?.fd;
}

/**
 * Phase `files`: the process, whose children are all born, gives up the terminal it was born with, unless it may have
 * to open /dev/tty once more. Of one that leads no session TIOCNOTTY changes nothing else (`no_tty()` in
 * drivers/tty/tty_jobctrl.c).
 */
export function giveUp(task: RestoreTask): void {
  if (task.ownState.terminal !== 'none' || ownDescriptor(task) !== undefined) return;
  const { batch, seed, context, pstree } = task;
  if (withSlaveOf(pstree.sid, task, (slave) => drop(task, slave))) return;
  // A job in the session of a shell has the terminal that Stasis was started on, if any.
  if (!context.options.shellJob) return;
  const [own = 0] = handOver(seed, batch, [STDIN]);
  drop(task, own);
  batch.call('close', own);
  batch.flush();
}

/** Phase `state`: a process that has /dev/tty open gives its terminal up now, when that has been opened. */
export function giveUpLate(task: RestoreTask): void {
  const fd = task.ownState.terminal === 'none' ? ownDescriptor(task) : undefined;
  if (fd !== undefined) drop(task, fd);
}

function drop({ batch }: RestoreTask, fd: number): void {
  batch.reserve(1).attempt('ioctl', fd, TTY_IOCTL.TIOCNOTTY, 0);
}
