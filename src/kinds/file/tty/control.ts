/** Terminals and sessions: which terminal controls the task, and which process group is in its foreground. */

import { STDIN } from '../../../base/brands.ts';
import { logInfo } from '../../../base/log.ts';
import type { RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { O } from '../../../kernel/constants/files.ts';
import { TTY_IOCTL } from '../../../kernel/constants/tty.ts';
import { Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { openInTask } from '../../../support/open-in-task.ts';
import { handOver } from '../../../tracee/handover.ts';
import { inBackground, setInt, tryGetInt, trySetInt } from './ioctl.ts';
import { ptyNumber, type TerminalFile, wasHung } from './plan.ts';
import { fillQueues, MAX_QUEUE } from './queues.ts';
import { isInBackground, isOrphan, registered, terminalsOf } from './rebuild.ts';
import { infoId } from './terminal.ts';

/** The second step for an open file of a terminal, when the task has all its descriptors. */
export function finishTerminal(terminal: TerminalFile, task: RestoreTask): void {
  if (isOrphan(terminal, task.context)) {
    takeForeground(terminal, task);
    return;
  }
  if (terminal.role === 'master' || terminal.role === 'slave') refill(terminal, task.context);
  if (terminal.role === 'current') {
    // Now that there is a terminal that controls it.
    openInTask(task, terminal.id, registered(terminal, task.context).name, terminal.file.flags);
  } else if (terminal.info.exclusive) {
    setInt(task.context.open(terminal.id), 'TIOCEXCL', 0);
  }
}

/** What waited in the terminals of the images, by the ids of their settings. */
const QUEUES = new Slot((context: RestoreContext) => {
  const entries = context.images.read(Images.ttyData);
  return new Map(entries.map(({ tty_id: id, data: bytes }) => [id, bytes.subarray(0, MAX_QUEUE)]));
});

/** What waited in a pty, once for both sides. */
function refill(terminal: TerminalFile, context: RestoreContext): void {
  const number = ptyNumber(terminal);
  const data = QUEUES.of(context);
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

/**
 * Phase `terminal`: a session leader takes its terminal back, before there are others in the session, for these have it
 * from their parents.
 */
export function takeControl(task: RestoreTask): void {
  withTerminal(task, (slave) => task.batch.call('ioctl', slave, TTY_IOCTL.TIOCSCTTY, 0));
}

/** Phase `files`: names the terminal's foreground group, now that all groups are there. Its processes may be gone. */
export function nameForeground(task: RestoreTask): void {
  withTerminal(task, (slave, { info }) => {
    if (info.pgrp <= 0) return;
    const program = task.batch.reserve(1, 8);
    const group = program.data(new Uint8Array(new Int32Array([info.pgrp]).buffer));
    program.attempt('ioctl', slave, TTY_IOCTL.TIOCSPGRP, group);
  });
}

/** Does something with the terminal of the session that the task leads, while the task has a descriptor for it. */
function withTerminal(task: RestoreTask, work: (slave: number, terminal: TerminalFile) => void): void {
  const { tree, context, batch, seed } = task;
  const terminal = tree.sid === tree.pid ? controlling(tree.sid, context) : undefined;
  if (!terminal) return;
  using peer = terminal.role === 'master' ? openPeer(terminal, context) : undefined;
  const [slave = 0] = handOver(seed, batch, [peer?.number ?? context.open(terminal.id)]);
  work(slave, terminal);
  batch.call('close', slave);
  batch.flush();
}

/** The other side of a master, which may be locked. */
function openPeer(master: TerminalFile, context: RestoreContext): Fd {
  const local = context.open(master.id);
  if (master.info.locked) setInt(local, 'TIOCSPTLCK', 0);
  const peer = new Fd(syscall('ioctl', local, TTY_IOCTL.TIOCGPTPEER, O.RDWR | O.NOCTTY));
  if (master.info.locked) setInt(local, 'TIOCSPTLCK', 1);
  return peer;
}

/** The open file of the terminal that controls a session: rather the slave's than the master's. */
function controlling(sid: number, context: RestoreContext): TerminalFile | undefined {
  let found: TerminalFile | undefined;
  for (const terminal of terminalsOf(context).byId.values()) {
    if (terminal.info.sid !== sid || wasHung(terminal) || terminal.role === 'current') continue;
    if (isOrphan(terminal, context)) continue;
    if (terminal.role !== 'master') return terminal;
    found ??= terminal;
  }
  return found;
}

/**
 * The terminal of a shell job is ours now. Which group was in its foreground is in front again, for it is the one that
 * keys go to: that of a program a shell in the tree has started, say. If it was none of the tree's, the job itself
 * comes to the front, as by the shell's `fg`.
 */
function takeForeground(terminal: TerminalFile, { tree, context }: RestoreTask): void {
  if (tree.sid === tree.pid && terminal.info.sid === tree.sid) {
    const reason = "its session's terminal is not in the images; it has none now";
    context.notice({ task: { pid: tree.pid }, reason });
    return;
  }
  const named = FOREGROUND.of(context);
  if (named.done) return;
  named.done = true;
  // Whoever restores a job in the background goes on typing.
  if (!isInBackground(context)) bringToFront(terminal.info.pgrp, context);
}

/** Whether the foreground has been named: a job has one terminal, and perhaps many open files of it. */
const FOREGROUND = new Slot((_: RestoreContext) => ({ done: false }));

function bringToFront(saved: number, context: RestoreContext): void {
  const member = context.images.read(Images.pstree).find(({ pgid }) => pgid === saved);
  // A group of the shell's has another number now, that of our own.
  const group = trySyscall('getpgid', member?.pid ?? context.root);
  const before = tryGetInt(STDIN, 'TIOCGPGRP');
  if (before === group) return;
  const result = inBackground(() => trySetInt(STDIN, 'TIOCSPGRP', group));
  if (result < 0) logInfo(`tty: process group ${group} cannot become the terminal's foreground`);
  else if (before > 0) context.undo(() => inBackground(() => trySetInt(STDIN, 'TIOCSPGRP', before)));
}
