/**
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME, which must neither go back nor jump because a task did not exist for a while or
 * is on another machine now. As in CRIU, a restored tree gets a time namespace whose offsets make both clocks continue
 * from their values at the dump; each time namespace that the tree had becomes another one. Timers are saved by their
 * remaining time, so they are not shifted twice.
 */
import { Part } from '../../../base/part.ts';
import type { TaskKind } from '../../../contract/contract.ts';
import { hasEmptyNamespaces } from '../../../namespaces/empty.ts';
import { capture, noteChildren, threadApart } from './save.ts';

const RESTORING = new Part(() => require('./restore.ts') as typeof import('./restore.ts'));
const EMPTY = new Part(() => require('./empty.ts') as typeof import('./empty.ts'));

/** The clocks of a tree. */
export const clocks: TaskKind = {
  name: 'clocks',
  drain: noteChildren,
  tree: {
    capture,
    prepare: (context) => RESTORING.load().readSaved(context),
    rebuilt: {
      memory: (context) => {
        if (hasEmptyNamespaces(context)) EMPTY.load().makeEmpty(context);
      },
    },
  },
  rebuild: {
    birth: (task) => RESTORING.load().enterEarly(task),
    mapped: (task) => RESTORING.load().enterLate(task),
    state: (task) => RESTORING.load().prepareChildrenLate(task),
  },
  thread: { obstacles: threadApart },
};
