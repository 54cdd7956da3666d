/** Terminals: pseudoterminals, consoles, serial lines, and the one that controls a session. */

import type { FileKind, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { FdTypes } from '../../../images/schema/files.ts';
import { O, S_IF } from '../../../kernel/constants/files.ts';
import { userDev } from '../../../kernel/devnum.ts';
import { armAsync } from '../../../support/fown.ts';
import { captureTerminal, terminalObstacle } from './capture.ts';
import { finishTerminal, nameForeground, takeControl } from './control.ts';
import { captureLack, giveUp, giveUpLate } from './lack.ts';
import { handOutMasters, openTerminal, terminalOf } from './rebuild.ts';
import { roleOf } from './terminal.ts';

/** Open files of terminals; see the files beside this one. */
export const ttyKind: FileKind = {
  name: 'tty',
  type: FdTypes.TTY,

  recognises: (file) =>
    (file.stat.mode & S_IF.MT) === S_IF.CHR && !(file.flags & O.PATH) && roleOf(userDev(file.stat.rdev)) !== undefined,
  obstacle: terminalObstacle,
  capture: captureTerminal,
  rebuild: (entry, context) => openTerminal(terminalOf(entry, context), context),

  finish(entry, fd, task) {
    const terminal = terminalOf(entry, task.context);
    finishTerminal(terminal, task);
    armAsync(fd, terminal.file.flags, task);
  },
};

function finishControl(task: RestoreTask): void {
  nameForeground(task);
  giveUp(task);
}

/** The terminals that control sessions. */
export const sessionTerminal: TaskKind = {
  name: 'session-terminal',
  capture: captureLack,
  rebuild: { terminal: takeControl, files: finishControl, state: giveUpLate },
  tree: { rebuilt: { state: handOutMasters } },
};
