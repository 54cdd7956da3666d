/** Opens terminals again, as local descriptors. Steps that need the task's session come later: control.ts. */

import { type LocalFd, STDIN } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { FileEntry, RegFileEntry } from '../../../images/schema/files.ts';
import { O } from '../../../kernel/constants/files.ts';
import { duplicate } from '../../../kernel/files.ts';
import { Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { placeOfEntry } from '../../../namespaces/places.ts';
import { nameEntry, openAs, reopen } from '../../../paths/special-file.ts';
import { setFlagsAndOwner } from '../../../support/fown.ts';
import { inheritedFd } from '../../../support/inherited.ts';
import { PLACEHOLDER } from '../../../support/open-in-task.ts';
import { EARLY_MASTERS, openPtyNumber } from '../../../support/ptys.ts';
import { setInt, tryGetInt } from './ioctl.ts';
import { planTerminals, ptyNumber, type TerminalFile, type Terminals, wasHung } from './plan.ts';
import { adoptSettings, applyOwner, applySettings } from './settings.ts';
import { externalKey } from './terminal.ts';

/** The terminals of the images, read once. */
export function terminalsOf(context: RestoreContext): Terminals {
  return TERMINALS.of(context);
}

const TERMINALS = new Slot((context: RestoreContext) =>
  planTerminals(context.fileEntries.values(), context.images.read(Images.ttyInfo)),
);

/** The terminal behind an entry of files.img. */
export function terminalOf(entry: FileEntry, context: RestoreContext): TerminalFile {
  const terminal = terminalsOf(context).byId.get(entry.id);
  if (terminal) return terminal;
  throw new ImageError({ file: 'files.img', reason: `file ${entry.id} is of type TTY and has no field tty` });
}

/** Whether the master of a slave was open outside of the tree. */
function isOutside(terminal: TerminalFile, context: RestoreContext): boolean {
  return terminal.role === 'slave' && !wasHung(terminal) && !terminalsOf(context).masters.has(ptyNumber(terminal));
}

/** Whether a terminal whose master was outside is replaced by that of Stasis: a shell job comes to another shell. */
export function isOrphan(terminal: TerminalFile, context: RestoreContext): boolean {
  return isOutside(terminal, context) && !isHandedOut(terminal, context);
}

/**
 * Whether a terminal whose master was outside is made anew, and its master handed out. A session of the tree keeps its
 * terminal, even if the tree is a shell job as well.
 */
function isHandedOut({ info }: TerminalFile, { options, images }: RestoreContext): boolean {
  if (!options.orphanPtsMaster) return false;
  return !options.shellJob || images.read(Images.pstree).some(({ pid }) => pid === info.sid);
}

/** A local descriptor for a terminal, with its flags and settings. */
export function openTerminal(terminal: TerminalFile, context: RestoreContext): LocalFd {
  using fd = new Fd(openByRole(terminal, context));
  if (terminal.role !== 'current') setFlagsAndOwner(fd.number, terminal.file.flags, terminal.file.fown, context);
  return fd.release();
}

function openByRole(terminal: TerminalFile, context: RestoreContext): LocalFd {
  const { role, info, file } = terminal;
  switch (role) {
    case 'external':
      return openExternal(terminal, context);
    case 'master':
      return openMaster(terminal, context);
    case 'slave':
      if (wasHung(terminal)) return takeHung(terminal, context);
      if (!isOutside(terminal, context)) return openSlave(terminal, context);
      return isOrphan(terminal, context) ? openOwn(terminal, context) : openHandedOut(terminal, context);
    case 'current':
      // Only the task itself can open its controlling terminal; a placeholder takes the number until it does.
      return openAs(PLACEHOLDER, O.RDWR);
    default: {
      using fd = new Fd(openNamed(registered(terminal, context), file.flags, context));
      applySettings(fd.number, info);
      return fd.release();
    }
  }
}

/** A file by its path, and the mount that the path begins at. */
type Named = Pick<RegFileEntry, 'name' | 'mnt_id'>;

function openNamed(file: Named, flags: number, context: RestoreContext): LocalFd {
  return openAs(file.name, flags, placeOfEntry(file, context));
}

/** The regular-file entry of a terminal, with its name, flags and mode. */
export function registered(terminal: TerminalFile, context: RestoreContext): RegFileEntry {
  return nameEntry(terminal.file.regf_id ?? terminal.id, context);
}

function openExternal({ info }: TerminalFile, context: RestoreContext): LocalFd {
  const key = externalKey(info.rdev, info.dev ?? 0);
  const inherited = inheritedFd(context, key);
  if (inherited === undefined) {
    const remedy = `give one with --inherit-fd 'fd[N]:${key}'`;
    throw new StasisError({
      kind: 'usage',
      resource: key,
      reason: 'an external terminal was not brought along',
      remedy,
    });
  }
  using fd = duplicate(inherited);
  applySettings(fd.number, info);
  return fd.release();
}

/** Makes a pty with its saved number. */
function openMaster(terminal: TerminalFile, context: RestoreContext): LocalFd {
  const { info, file } = terminal;
  const { name, mnt_id } = registered(terminal, context);
  using fd = new Fd(openPtmx({ name, mnt_id }, file.flags, ptyNumber(terminal), context));
  setInt(fd.number, 'TIOCSPTLCK', 0);
  applySettings(fd.number, info);
  if (info.packet_mode) setInt(fd.number, 'TIOCPKT', 1);
  if (info.locked) setInt(fd.number, 'TIOCSPTLCK', 1);
  return fd.release();
}

/** A master with a certain number, perhaps one that is there because its slave is mounted. */
function openPtmx(file: Named, flags: number, wanted: number, context: RestoreContext): LocalFd {
  const early = EARLY_MASTERS.of(context);
  const there = early.get(wanted);
  early.delete(wanted);
  return there?.release() ?? openPtyNumber(() => openNamed(file, flags, context), wanted);
}

/** Opens a slave whose master is in the images too. */
function openSlave(terminal: TerminalFile, context: RestoreContext): LocalFd {
  const { file, info } = terminal;
  const master = terminalsOf(context).masters.get(ptyNumber(terminal)) as TerminalFile; // it is no orphan
  const other = context.open(master.id);
  const reg = registered(terminal, context);
  if (master.info.locked) setInt(other, 'TIOCSPTLCK', 0);
  using fd = new Fd(openNamed(reg, file.flags, context));
  if (master.info.locked) setInt(other, 'TIOCSPTLCK', 1);
  applyOwner(fd.number, info, reg.mode, context.ids);
  applySettings(fd.number, info);
  return fd.release();
}

/**
 * Opens all files of a slave whose master was closed. A master is made for that moment, and closing it hangs them up.
 * They are opened together and handed out one by one.
 */
function takeHung(terminal: TerminalFile, context: RestoreContext): LocalFd {
  const number = ptyNumber(terminal);
  const opened = HUNG.of(context, number);
  const fd = opened.get(terminal.id) as LocalFd; // one of the files of this pty
  opened.delete(terminal.id);
  return fd;
}

const HUNG = new KeyedSlot(openHung);

function openHung(context: RestoreContext, number: number): Map<number, LocalFd> {
  const opened = new Map<number, LocalFd>();
  context.atEnd(() => {
    for (const fd of opened.values()) trySyscall('close', fd);
  });
  const files = (terminalsOf(context).slaves.get(number) ?? []).filter(wasHung);
  const first = files[0];
  if (!first) return opened;
  const { name, mnt_id } = registered(first, context);
  using master = new Fd(openPtmx({ name: multiplexerOf(name), mnt_id }, O.RDWR, number, context));
  setInt(master.number, 'TIOCSPTLCK', 0);
  for (const terminal of files) {
    opened.set(terminal.id, openNamed(registered(terminal, context), terminal.file.flags, context));
  }
  return opened;
}

/** Opens a slave whose master is made for whoever keeps the terminals of the tree, such as a container engine. */
function openHandedOut(terminal: TerminalFile, context: RestoreContext): LocalFd {
  const reg = registered(terminal, context);
  HANDED_OUT.of(context, ptyNumber(terminal));
  using fd = new Fd(openNamed(reg, terminal.file.flags, context));
  applyOwner(fd.number, terminal.info, reg.mode, context.ids);
  applySettings(fd.number, terminal.info);
  return fd.release();
}

/** The masters that are handed out, by the number of the terminal. */
const HANDED_OUT = new KeyedSlot((context: RestoreContext, number: number): Fd => {
  const [first] = (terminalsOf(context).slaves.get(number) ?? []).filter((slave) => !wasHung(slave));
  if (!first) throw new StasisError({ kind: 'internal', reason: `terminal ${number} has no slave` });
  const { name, mnt_id } = registered(first, context);
  const master = new Fd(openPtmx({ name: multiplexerOf(name), mnt_id }, O.RDWR, number, context));
  context.atEnd(() => master[Symbol.dispose]());
  setInt(master.number, 'TIOCSPTLCK', 0);
  TO_HAND_OUT.of(context).push(master);
  return master;
});

const TO_HAND_OUT = new Slot((_: RestoreContext): Fd[] => []);

/** Hands out the masters that were made for that. */
export function handOutMasters(context: RestoreContext): void {
  for (const master of TO_HAND_OUT.ifMade(context) ?? []) context.handOut(master.number);
}

/** `/dev/pts/3` → `/dev/pts/ptmx`, the same instance of devpts. */
function multiplexerOf(slave: string): string {
  return `${slave.slice(0, slave.lastIndexOf('/'))}/ptmx`;
}

/**
 * Whether Stasis was started in the background of its terminal (`restore --shell-job … &`). The shell then goes on
 * reading from the terminal, so the job gets neither the foreground nor its settings. The foreground of a terminal that
 * does not control us cannot be found out.
 */
export function isInBackground(context: RestoreContext): boolean {
  return IN_BACKGROUND.of(context);
}

const IN_BACKGROUND = new Slot((_: RestoreContext) => {
  const foreground = tryGetInt(STDIN, 'TIOCGPGRP');
  return foreground > 0 && foreground !== syscall('getpgid', 0);
});

/** Whether our terminal has been given the settings of the job. */
const ADOPTED = new Slot((_: RestoreContext) => ({ done: false }));

/** Opens our own terminal in place of a shell job's, with the job's settings but its own size. */
function openOwn(terminal: TerminalFile, context: RestoreContext): LocalFd {
  const name = registered(terminal, context).name;
  const remedy = 'restore it with --shell-job, from a terminal';
  if (!context.options.shellJob) {
    const reason = 'the other side of this terminal was held by a process that is not in the images';
    throw new StasisError({ kind: 'usage', resource: name, reason, remedy });
  }
  if (tryGetInt(STDIN, 'TIOCGWINSZ') < 0) {
    const reason = 'standard input is no terminal that could take its place';
    throw new StasisError({ kind: 'usage', resource: name, reason, remedy });
  }
  using fd = new Fd(reopen(STDIN, terminal.file.flags));
  if (isInBackground(context)) return fd.release();
  const adopted = ADOPTED.of(context);
  if (!adopted.done) context.undo(adoptSettings(STDIN, terminal.info));
  adopted.done = true;
  return fd.release();
}
