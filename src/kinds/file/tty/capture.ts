/** Captures open terminals. */
import type { ErrorCode } from '../../../base/error-codes.ts';
import type { StasisError } from '../../../base/errors.ts';
import type { CarryOptions, DumpContext, FileDraft, OpenFile, SeenTask, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { userDev } from '../../../kernel/devnum.ts';
import { Termios, Winsize } from '../../../kernel/layouts/tty.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { ERRNO } from '../../../kernel/syscall.ts';
import { captureName } from '../../../paths/special-file.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { noteFile } from '../../../support/file-notes.ts';
import { captureOwner, imageFlags } from '../../../support/fown.ts';
import { getStruct, tryGetInt } from './ioctl.ts';
import { copyQueues, isSlaveClosed, openPeer, type Queues } from './queues.ts';
import { externalKey, infoId, MAX_EXTERNAL, MAX_PTY, type Role, roleOf, SLAVE_CLOSED, typeOf } from './terminal.ts';
import { termiosMessage, winsizeMessage } from './termios.ts';

/** The session a terminal controls and its foreground process group; 0 where there is none. */
export interface Control {
  readonly sid: number;
  readonly pgrp: number;
}

/** The role of an open terminal; `external` if the user provides it (`--external tty[…]`). */
export function roleOfFile(file: OpenFile, options: CarryOptions): Role | undefined {
  const role = roleOf(userDev(file.stat.rdev));
  return role && options.external.includes(keyOf(file)) ? 'external' : role;
}

const keyOf = (file: OpenFile): string => externalKey(userDev(file.stat.rdev), userDev(file.stat.dev));

/** The number of a pty, from a file of either side. */
export function ptyIndex(file: OpenFile, role: 'master' | 'slave'): number {
  return role === 'slave' ? file.stat.rdev & 0xfffff : tryGetInt(file.local, 'TIOCGPTN');
}

/** Whether the terminal is hung up, like a slave whose master was closed. No ioctl works on it then. */
export function isHung(file: OpenFile): boolean {
  return tryGetInt(file.local, 'TIOCGEXCL') === -ERRNO.EIO;
}

/**
 * The session a terminal controls. A slave tells this only to processes of that session, so it is taken from the `stat`
 * of the tasks. TIOCGDEV gives the real terminal behind a file.
 */
export function controlOf(file: OpenFile, role: Role, tasks: readonly SeenTask[]): Control {
  if (role === 'master') {
    const sid = Math.max(tryGetInt(file.local, 'TIOCGSID'), 0);
    return { sid, pgrp: sid === 0 ? 0 : Math.max(tryGetInt(file.local, 'TIOCGPGRP'), 0) };
  }
  const device = tryGetInt(file.local, 'TIOCGDEV');
  const member = device > 0 ? tasks.find(({ stat }) => stat.ttyNr === device) : undefined;
  return member ? { sid: member.stat.session, pgrp: Math.max(member.stat.tpgid, 0) } : { sid: 0, pgrp: 0 };
}

/**
 * The terminals whose settings have been saved: one file of each, by the ID of its settings; and the number of external
 * terminals.
 */
const SAVED = new Slot((_: DumpContext) => ({ infos: new Map<number, OpenFile>(), external: 0 }));

/** Captures an open file of a terminal and, once for each terminal, its settings. */
export function captureTerminal(file: OpenFile, id: number, context: DumpContext): FileDraft {
  const role = roleOfFile(file, context.options) as Role; // recognised before
  const known = SAVED.of(context);
  const index =
    role === 'master' || role === 'slave' ? ptyIndex(file, role) : role === 'external' ? ++known.external : 0;
  const info = infoId(role, index);
  if (!known.infos.has(info)) {
    known.infos.set(info, file);
    captureInfo(file, role, index, info, context);
    if (role === 'master' && isSlaveClosed(file.local)) captureClosed(file, index, id, context);
    else if (role === 'master' || role === 'slave') captureQueues(index, known.infos, context);
  }
  return {
    tty: {
      id,
      tty_info_id: info,
      flags: imageFlags(file.flags),
      fown: captureOwner(file.local, file.flags, context),
      ...(role === 'external' ? {} : { regf_id: captureName(file, context) }),
    },
  };
}

/** The numbers of session and foreground group as images hold them. */
function savedControl({ sid, pgrp }: Control, { pids, tasks }: SeenTree): Control {
  const session = tasks.find(({ stat }) => stat.session === sid);
  const group = tasks.find(({ stat }) => stat.pgrp === pgrp);
  return {
    sid: session ? pids.sessionOf(session.pid, sid) : pids.saved(sid),
    pgrp: group ? pids.groupOf(group.pid, pgrp) : pids.saved(pgrp),
  };
}

function captureInfo(file: OpenFile, role: Role, index: number, id: number, context: DumpContext): void {
  const { uid, gid } = statusOf(file.local);
  const flag = (request: 'TIOCGEXCL' | 'TIOCGPTLCK' | 'TIOCGPKT'): boolean => tryGetInt(file.local, request) > 0;
  const pty = role === 'master' || role === 'slave' ? { pty: { index } } : {};
  const basics = {
    id,
    type: typeOf(role),
    rdev: userDev(file.stat.rdev),
    dev: userDev(file.stat.dev),
    uid: context.tree.ids.uidThere(uid),
    gid: context.tree.ids.gidThere(gid),
    ...pty,
  };
  if (isHung(file)) {
    const nothing = { locked: false, exclusive: false, packet_mode: false, sid: 0, pgrp: 0 };
    context.append(Images.ttyInfo, { ...basics, ...nothing });
    return;
  }
  context.append(Images.ttyInfo, {
    ...basics,
    ...savedControl(controlOf(file, role, context.tree.tasks), context.tree),
    locked: role === 'master' && flag('TIOCGPTLCK'),
    exclusive: flag('TIOCGEXCL'),
    packet_mode: role === 'master' && flag('TIOCGPKT'),
    termios: termiosMessage(getStruct(file.local, 'TCGETS', Termios)),
    termios_locked: termiosMessage(getStruct(file.local, 'TIOCGLCKTRMIOS', Termios)),
    winsize: winsizeMessage(getStruct(file.local, 'TIOCGWINSZ', Winsize)),
  });
}

/**
 * Captures the unread bytes of a pty when both sides are known. With one side alone the bytes could not be put back.
 */
function captureQueues(index: number, seen: ReadonlyMap<number, OpenFile>, context: DumpContext): void {
  const master = seen.get(infoId('master', index));
  const slave = seen.get(infoId('slave', index));
  if (!master || !slave || isHung(slave)) return;
  saveQueues(index, copyQueues(master.local, slave.local), context);
}

/** The unread bytes of a pty whose slave everybody has closed: it is opened for that, and closed again. */
function captureClosed(master: OpenFile, index: number, id: number, context: DumpContext): void {
  noteFile(context, 'tty', id, SLAVE_CLOSED);
  using peer = openPeer(master.local);
  saveQueues(index, copyQueues(master.local, peer.number), context);
}

function saveQueues(index: number, { input, output }: Queues, context: DumpContext): void {
  if (input.length > 0) context.append(Images.ttyData, { tty_id: infoId('slave', index), data: input });
  if (output.length > 0) context.append(Images.ttyData, { tty_id: infoId('master', index), data: output });
}

type Refuse = (code: ErrorCode, reason: string, remedy?: string) => StasisError;

/** Why a terminal cannot be carried; undefined if it can. */
export function terminalObstacle(file: OpenFile, task: SeenTask): StasisError | undefined {
  const role = roleOfFile(file, task.options) as Role; // recognised before
  const refuse: Refuse = (code, reason, remedy) => fileObstacle(file, code, reason, remedy);
  if (role === 'external') {
    const count = task.options.external.filter((key) => key.startsWith('tty[')).length;
    return count > MAX_EXTERNAL ? refuse('TERMINAL_NUMBER', `more than ${MAX_EXTERNAL} external terminals`) : undefined;
  }
  if (role === 'master' || role === 'slave') {
    if (ptyIndex(file, role) > MAX_PTY)
      return refuse('TERMINAL_NUMBER', `its number is above ${MAX_PTY}, the highest that images can hold`);
  }
  if (isHung(file) || task.options.shellJob) return shellJobObstacle(file, role, task, refuse);
  const isForeign = role === 'slave' && !task.options.orphanPtsMaster;
  if (isForeign && !HELD.of(task.tree).masters.has(ptyIndex(file, 'slave'))) {
    return refuse(
      'TERMINAL_FOREIGN',
      'the process runs on a terminal that others hold the other side of (a shell, a terminal emulator)',
      'give --shell-job, at the dump and at the restore, to let it move to the terminal of whoever restores it',
    );
  }
  const { sid } = controlOf(file, role, task.tree.tasks);
  if (sid === 0 || task.tree.tasks.some(({ pid }) => pid === sid)) return undefined;
  return refuse(
    'TERMINAL_SESSION',
    `the terminal controls session ${sid}, which is not part of the dump`,
    'give --shell-job if the process is to leave that session',
  );
}

/** Findings about the terminals of a tree, computed once since they are needed for each descriptor of a terminal. */
interface Held {
  /** Numbers of the ptys whose master is open in a task. */
  readonly masters: ReadonlySet<number>;
  /** The first slave that is not hung up and whose master is open outside of the tree. */
  readonly foreign: OpenFile | undefined;
}

const HELD = new Slot(({ tasks, options }: SeenTree): Held => {
  const files = tasks.flatMap(({ fds }) => fds);
  const ofMasters = files.filter((file) => roleOf(userDev(file.stat.rdev)) === 'master');
  const masters = new Set(ofMasters.map((file) => ptyIndex(file, 'master')));
  const foreign = files.find(
    (file) => roleOfFile(file, options) === 'slave' && !masters.has(ptyIndex(file, 'slave')) && !isHung(file),
  );
  return { masters, foreign };
});

/**
 * An obstacle for a second terminal of a shell job: the restore replaces the terminal by its own, so both would become
 * the same.
 */
function shellJobObstacle(file: OpenFile, role: Role, task: SeenTask, refuse: Refuse): StasisError | undefined {
  if (role !== 'slave' || isHung(file)) return undefined;
  const { masters, foreign } = HELD.of(task.tree);
  if (!foreign || masters.has(ptyIndex(file, 'slave')) || foreign.stat.rdev === file.stat.rdev) return undefined;
  return refuse(
    'TERMINAL_SECOND',
    `a second terminal besides ${foreign.link}; --shell-job moves one`,
    `--external ${keyOf(file)}`,
  );
}
