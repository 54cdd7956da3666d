/** Terminals: pseudoterminals, consoles, serial lines, and /dev/tty. */
import type { FileDoors } from '../../../contract/contract.ts';
import { armAsync } from '../../../support/fown.ts';
import { captureTerminal, terminalObstacle } from './capture.ts';
import { finishTerminal } from './control.ts';
import { openTerminal, terminalOf } from './rebuild.ts';

export const ttyKind: FileDoors = {
  obstacle: terminalObstacle,
  capture: captureTerminal,
  rebuild: (entry, context) => openTerminal(terminalOf(entry, context), context),

  finish(entry, fd, task) {
    const terminal = terminalOf(entry, task.context);
    finishTerminal(terminal, task);
    armAsync(fd, terminal.file.flags, task);
  },
};
