/** Controlling terminals of sessions, and their foreground process groups. */

import { STDIN } from '../../../base/brands.ts';
import { logInfo } from '../../../base/log.ts';
import type { RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { text } from '../../../images/form.ts';
import { Images } from '../../../images/kinds.ts';
import type { TtyInfoEntry } from '../../../images/schema/tty.ts';
import { SIG } from '../../../kernel/constants/signals.ts';
import { TTY_IOCTL } from '../../../kernel/constants/tty.ts';
import { trySyscall } from '../../../kernel/syscall.ts';
import { notedFile } from '../../../support/file-notes.ts';
import { openInTask } from '../../../support/open-in-task.ts';
import { handOver } from '../../../tracee/handover.ts';
import { inBackground, setInt, tryGetInt, trySetInt } from './ioctl.ts';
import { ptyNumber, type TerminalFile, wasHung } from './plan.ts';
import { fillQueues, MAX_QUEUE, openPeer } from './queues.ts';
import { isInBackground, isOrphan, registered, terminalsOf } from './rebuild.ts';
import { adoptSettings } from './settings.ts';
import { infoId, SLAVE_CLOSED } from './terminal.ts';

/** The second step for an open file of a terminal. */
export function finishTerminal(terminal: TerminalFile, task: RestoreTask): void {
  if (isOrphan(terminal, task.context)) {
    takeForeground(terminal, task);
    return;
  }
  if (terminal.role === 'master' || terminal.role === 'slave') refill(terminal, task.context);
  if (terminal.role === 'current') {
    // Opened now, since the session has its controlling terminal by this time.
    openInTask(task, terminal.id, registered(terminal, task.context).name, terminal.file.flags);
  } else if (terminal.info.exclusive) {
    setInt(task.context.open(terminal.id), 'TIOCEXCL', 0);
  }
}

/** The unread bytes of the terminals, by the IDs of their settings. */
const QUEUES = new Slot((context: RestoreContext) => {
  const entries = context.images.read(Images.ttyData);
  return new Map(entries.map(({ tty_id: id, data: bytes }) => [id, bytes.subarray(0, MAX_QUEUE)]));
});

/** Restores the unread bytes of a pty, once for both sides, and that its slave is closed. */
function refill(terminal: TerminalFile, context: RestoreContext): void {
  const number = ptyNumber(terminal);
  const data = QUEUES.of(context);
  const ids = { slave: infoId('slave', number), master: infoId('master', number) };
  if (terminal.role === 'slave' && !data.has(ids.slave) && !data.has(ids.master)) return;
  const { masters, slaves } = terminalsOf(context);
  const master = masters.get(number);
  if (!master) return;
  const slave = slaves.get(number)?.find((one) => !wasHung(one));
  // Where everybody has closed the slave it is opened for a moment, and its end hangs the master up again.
  const isClosed = notedFile(context, 'tty', master.id, text) === SLAVE_CLOSED;
  using peer = slave === undefined && isClosed ? openPeer(context.open(master.id)) : undefined;
  const other = peer?.number ?? (slave && context.open(slave.id));
  if (other === undefined) return;
  const nothing = new Uint8Array();
  const queues = { input: data.get(ids.slave) ?? nothing, output: data.get(ids.master) ?? nothing };
  data.delete(ids.slave);
  data.delete(ids.master);
  if (queues.input.length + queues.output.length > 0) fillQueues(context.open(master.id), other, queues);
}

/**
 * Phase `terminal`: a session leader acquires its controlling terminal, before the session has other members, since
 * these inherit it.
 */
export function takeControl(task: RestoreTask): void {
  withTerminal(task, (slave) => task.batch.call('ioctl', slave, TTY_IOCTL.TIOCSCTTY, 0));
}

/**
 * Phase `files`: sets the foreground process group of the terminal, since all groups exist by now. The group may have
 * no processes any more.
 */
export function nameForeground(task: RestoreTask): void {
  withTerminal(task, (slave, { info }) => {
    if (info.pgrp <= 0) return;
    const program = task.batch.reserve(1, 8);
    const group = program.data(new Uint8Array(new Int32Array([task.context.numberFor(task, info.pgrp)]).buffer));
    program.attempt('ioctl', slave, TTY_IOCTL.TIOCSPGRP, group);
  });
}

/** Calls `work` while the task, a session leader, has a descriptor for the controlling terminal of its session. */
function withTerminal(task: RestoreTask, work: (slave: number, terminal: TerminalFile) => void): void {
  const { sid, pid } = task.pstree;
  if (sid === pid) withSlaveOf(sid, task, work);
}

/**
 * Calls `work` while the task has a descriptor for the terminal that controls a session; false if the images have none.
 */
export function withSlaveOf(
  sid: number,
  task: RestoreTask,
  work: (slave: number, terminal: TerminalFile) => void,
): boolean {
  const { context, batch, seed } = task;
  const terminal = controlling(sid, context);
  if (!terminal) return false;
  using peer = terminal.role === 'master' ? openPeer(context.open(terminal.id)) : undefined;
  const [slave = 0] = handOver(seed, batch, [peer?.number ?? context.open(terminal.id)]);
  work(slave, terminal);
  batch.call('close', slave);
  batch.flush();
  return true;
}

/** An open file of the terminal that controls a session; the slave's is preferred to the master's. */
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
 * Sets the foreground group of our terminal, which a shell job uses now. The group that was in the foreground (for
 * example that of a program started by a shell in the tree) gets it again. If that group is not part of the tree, the
 * job itself gets it, as with the shell's `fg`.
 */
function takeForeground(terminal: TerminalFile, { pstree: tree, context }: RestoreTask): void {
  if (tree.sid === tree.pid && terminal.info.sid === tree.sid) {
    const reason = "its session's terminal is not in the images; it has none now";
    context.notice({ task: { pid: tree.pid }, reason });
    return;
  }
  const named = FOREGROUND.of(context);
  if (named.done) return;
  named.done = true;
  // A restore in the background must not take the terminal from the shell, which may give it later (fg).
  if (isInBackground(context)) context.whenInFront(passingOn(terminal.info, context));
  else bringToFront(terminal.info.pgrp, context);
}

/** Whether the foreground group has been set. A job has one terminal, but may have several open files of it. */
const FOREGROUND = new Slot((_: RestoreContext) => ({ done: false }));

/** The group that was in the foreground. One that belonged to the shell is replaced by our own, of another number. */
function foregroundGroup(saved: number, context: RestoreContext): number {
  const member = context.images.read(Images.pstree).find(({ pgid }) => pgid === saved);
  return trySyscall('getpgid', context.hostPid(member?.pid ?? context.root) ?? 0);
}

/**
 * What looks whether a shell has brought our group to the foreground, and then gives terminal and settings to the job,
 * which goes on if it has been stopped for reading. True when that is done, or can no longer be.
 */
function passingOn(info: TtyInfoEntry, context: RestoreContext): () => boolean {
  const group = foregroundGroup(info.pgrp, context);
  const own = trySyscall('getpgid', 0);
  return () => {
    const front = tryGetInt(STDIN, 'TIOCGPGRP');
    if (group === own || front < 0) return true;
    if (front !== own) return false;
    adoptSettings(STDIN, info);
    trySetInt(STDIN, 'TIOCSPGRP', group);
    trySyscall('kill', -group, SIG.CONT);
    return true;
  };
}

function bringToFront(saved: number, context: RestoreContext): void {
  const group = foregroundGroup(saved, context);
  const before = tryGetInt(STDIN, 'TIOCGPGRP');
  if (before === group) return;
  const result = inBackground(() => trySetInt(STDIN, 'TIOCSPGRP', group));
  if (result < 0) logInfo(`tty: process group ${group} cannot become the terminal's foreground`);
  else if (before > 0) context.undo(() => inBackground(() => trySetInt(STDIN, 'TIOCSPGRP', before)));
}
