/** The terminals that control sessions. Without a terminal in the images there is hardly ever anything to rebuild. */
import { Part } from '../../../base/part.ts';
import type { DumpContext, DumpTask, RestoreContext, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';

const REBUILDING = new Part(() => require('./session-rebuild.ts') as typeof import('./session-rebuild.ts'));

/** Sessions of which some process of the tree has a terminal. */
const WITH_TERMINAL = new Slot(({ tree: { tasks } }: DumpContext) => {
  return new Set(tasks.flatMap(({ stat }) => (stat.ttyNr === 0 ? [] : [stat.session])));
});

/** Notes a process that has no terminal where others of its session have one. */
export function captureLack({ stat, context, ownState }: DumpTask): undefined {
  if (stat.ttyNr === 0 && WITH_TERMINAL.of(context).has(stat.session)) ownState.terminal = 'none';
}

/** Whether the images have open files of terminals. */
const HAS_TERMINALS = new Slot(({ fileEntries }: RestoreContext) => [...fileEntries.values()].some(({ tty }) => tty));

/** What rebuilds the terminal of a process; undefined if it had none and gives none up. */
function rebuildingOf(task: RestoreTask): typeof import('./session-rebuild.ts').sessionRebuild | undefined {
  const isConcerned = task.ownState.terminal !== undefined || HAS_TERMINALS.of(task.context);
  return isConcerned ? REBUILDING.load().sessionRebuild : undefined;
}

export const sessionTerminal: TaskKind = {
  name: 'session-terminal',
  capture: captureLack,
  rebuild: {
    terminal: (task) => rebuildingOf(task)?.terminal(task),
    files: (task) => rebuildingOf(task)?.files(task),
    state: (task) => rebuildingOf(task)?.state(task),
  },
  tree: { rebuilt: { state: (context) => REBUILDING.ifLoaded?.handOutMasters(context) } },
};
