/** Terminals and sessions: which terminal controls the task, and which process group is in its foreground. */
import { logInfo, logWarn } from '../../base/log.ts';
import { Images } from '../../images/kinds.ts';
import { O } from '../../kernel/constants/files.ts';
import { TTY_IOCTL } from '../../kernel/constants/tty.ts';
import type { Program } from '../../tracee/program.ts';
import type { RestoreContext, RestoreTask } from '../contract.ts';
import { openInTask } from '../in-task.ts';
import { inBackground, setInt, tryGetInt, trySetInt } from './ioctl.ts';
import { ptyNumber, type TerminalFile, wasHung } from './plan.ts';
import { fillQueues, MAX_QUEUE } from './queues.ts';
import { isOrphan, registered, terminalsOf } from './rebuild.ts';
import { infoId } from './terminal.ts';

/** The second step for an open file of a terminal, when the task has all its descriptors. */
export function finishTerminal(terminal: TerminalFile, task: RestoreTask): void {
  if (isOrphan(terminal, task.context)) {
    takeForeground(task);
    return;
  }
  takeControl(task);
  if (terminal.role === 'master' || terminal.role === 'slave') refill(terminal, task.context);
  if (terminal.role === 'current') {
    // Now that there is a terminal that controls it.
    openInTask(task, terminal.id, registered(terminal, task.context).name, terminal.file.flags);
  } else if (terminal.info.exclusive) {
    setInt(task.context.open(terminal.id), 'TIOCEXCL', 0);
  }
}

/** What waited in a pty, once for both sides. */
function refill(terminal: TerminalFile, context: RestoreContext): void {
  const number = ptyNumber(terminal);
  const data = context.shared('terminal queues', () => {
    const entries = context.images.read(Images.ttyData);
    return new Map(entries.map(({ tty_id: id, data: bytes }) => [id, bytes.subarray(0, MAX_QUEUE)]));
  });
  const ids = { slave: infoId('slave', number), master: infoId('master', number) };
  if (!data.has(ids.slave) && !data.has(ids.master)) return;
  const { masters, slaves } = terminalsOf(context);
  const master = masters.get(number);
  const slave = slaves.get(number)?.find((one) => !wasHung(one));
  if (!master || !slave) return;
  const nothing = new Uint8Array();
  const queues = { input: data.get(ids.slave) ?? nothing, output: data.get(ids.master) ?? nothing };
  data.delete(ids.slave);
  data.delete(ids.master);
  fillQueues(context.open(master.id), context.open(slave.id), queues);
}

/** A session leader takes its terminal back, once, through a descriptor it has for either side. */
function takeControl(task: RestoreTask): void {
  const { tree, context, batch } = task;
  if (tree.sid !== tree.pid) return;
  context.shared(`control of session ${tree.sid}`, () => {
    const found = controlling(task);
    if (!found) return true;
    const { terminal, fd } = found;
    const program = batch.reserve(8, 64);
    if (terminal.role === 'master') {
      if (terminal.info.locked) setLock(program, fd, 0);
      const slave = program.call('ioctl', fd, TTY_IOCTL.TIOCGPTPEER, O.RDWR | O.NOCTTY);
      if (terminal.info.locked) setLock(program, fd, 1);
      control(program, slave, terminal.info.pgrp);
      program.call('close', slave);
    } else {
      control(program, fd, terminal.info.pgrp);
    }
    return true;
  });
}

function setLock(program: Program, fd: number, value: number): void {
  program.call('ioctl', fd, TTY_IOCTL.TIOCSPTLCK, int(program, value));
}

/** Becomes the terminal's controller and names its foreground group, which may be of processes that are gone. */
function control(program: Program, fd: Parameters<Program['call']>[1], pgrp: number): void {
  program.call('ioctl', fd, TTY_IOCTL.TIOCSCTTY, 0);
  if (pgrp > 0) program.attempt('ioctl', fd, TTY_IOCTL.TIOCSPGRP, int(program, pgrp));
}

function int(program: Program, value: number): number {
  return program.data(new Uint8Array(new Int32Array([value]).buffer));
}

/** The descriptor of the task for the terminal that controls its session: rather the slave's than the master's. */
function controlling(task: RestoreTask): { terminal: TerminalFile; fd: number } | undefined {
  const { byId } = terminalsOf(task.context);
  let found: { terminal: TerminalFile; fd: number } | undefined;
  for (const { id, fd } of task.fds) {
    const terminal = byId.get(id);
    if (!terminal || terminal.info.sid !== task.tree.sid || wasHung(terminal) || terminal.role === 'current') continue;
    if (terminal.role !== 'master') return { terminal, fd };
    found ??= { terminal, fd };
  }
  return found;
}

/**
 * A shell job with a process group of its own was in the foreground, or will be when the shell says so: key presses go to
 * it. A job in our own group is where we are.
 */
function takeForeground(task: RestoreTask): void {
  const { tree, context } = task;
  if (tree.sid === tree.pid) {
    logWarn('tty', `task ${tree.pid}: its session's terminal is not in the images; it has none now`);
    return;
  }
  if (tree.pgid !== tree.pid) return;
  context.shared(`foreground ${tree.pgid}`, () => {
    task.batch.flush(); // the group has to exist
    const before = tryGetInt(0, 'TIOCGPGRP');
    const result = inBackground(() => trySetInt(0, 'TIOCSPGRP', tree.pgid));
    if (result < 0) logInfo(`tty: process group ${tree.pgid} cannot become the terminal's foreground`);
    else if (before > 0) context.undo(() => inBackground(() => trySetInt(0, 'TIOCSPGRP', before)));
    return true;
  });
}
