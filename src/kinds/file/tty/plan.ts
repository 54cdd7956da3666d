/** The terminals of an image set: which files belong to which pty. Pure. */
import { ImageError } from '../../../images/error.ts';
import type { FileEntry } from '../../../images/schema/files.ts';
import { type TtyFileEntry, type TtyInfoEntry, TtyType } from '../../../images/schema/tty.ts';
import { type Role, roleOf } from './terminal.ts';

/** One open file of a terminal. */
export interface TerminalFile {
  /** Its ID in files.img. */
  readonly id: number;
  readonly file: TtyFileEntry;
  readonly info: TtyInfoEntry;
  readonly role: Role;
}

/** All terminals, indexed in three ways. */
export interface Terminals {
  readonly byId: ReadonlyMap<number, TerminalFile>;
  /** The file of each pty's master, by its number. */
  readonly masters: ReadonlyMap<number, TerminalFile>;
  /** The files of each pty's slave, by its number. */
  readonly slaves: ReadonlyMap<number, readonly TerminalFile[]>;
}

/** Combines the entries of files.img and tty-info.img. @throws ImageError when they do not fit each other */
export function planTerminals(files: Iterable<FileEntry>, infos: readonly TtyInfoEntry[]): Terminals {
  const infoById = new Map(infos.map((info) => [info.id, info]));
  const byId = new Map<number, TerminalFile>();
  const masters = new Map<number, TerminalFile>();
  const slaves = new Map<number, TerminalFile[]>();
  for (const { id, tty } of files) {
    if (!tty) continue;
    const terminal = describe(id, tty, infoById.get(tty.tty_info_id));
    byId.set(id, terminal);
    if (terminal.role === 'master') masters.set(ptyNumber(terminal), terminal);
    if (terminal.role !== 'slave') continue;
    const others = slaves.get(ptyNumber(terminal));
    if (others) others.push(terminal);
    else slaves.set(ptyNumber(terminal), [terminal]);
  }
  return { byId, masters, slaves };
}

function describe(id: number, file: TtyFileEntry, info: TtyInfoEntry | undefined): TerminalFile {
  const bad = (reason: string): ImageError => new ImageError({ file: 'tty-info.img', reason });
  if (!info) throw bad(`there is no terminal ${file.tty_info_id}, which file ${id} is an open file of`);
  const role = info.type === TtyType.EXT_TTY ? 'external' : roleOf(info.rdev);
  if (!role) throw bad(`terminal ${info.id} has device number 0x${info.rdev.toString(16)}, which is no terminal's`);
  if ((role === 'master' || role === 'slave') && !info.pty) throw bad(`terminal ${info.id} has no field pty`);
  return { id, file, info, role };
}

/** The number of a pty. */
export function ptyNumber(terminal: TerminalFile): number {
  return terminal.info.pty?.index ?? -1; // planTerminals() has checked that it exists
}

/** Whether the terminal was hung up at the dump. */
export function wasHung(terminal: TerminalFile): boolean {
  return terminal.info.termios === undefined;
}
