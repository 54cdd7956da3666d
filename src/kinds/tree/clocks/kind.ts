/**
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME, which must neither go back nor jump because a task did not exist for a while or
 * is on another machine now. As in CRIU, a restored tree gets a time namespace whose offsets make both clocks continue
 * from their values at the dump; each time namespace that the tree had becomes another one. Timers are saved by their
 * remaining time, so they are not shifted twice.
 */
import type { TaskKind } from '../../../contract/contract.ts';
import { SAVED_IDS } from '../../../namespaces/made.ts';
import { enterEarly, enterLate, prepareChildrenLate, SAVED } from './restore.ts';
import { capture, noteChildren, threadApart } from './save.ts';

/** The clocks of a tree. */
export const clocks: TaskKind = {
  name: 'clocks',
  drain: noteChildren,
  tree: {
    capture,
    prepare: (context) => void SAVED.of(context, SAVED_IDS.of(context, context.root).time),
  },
  rebuild: { birth: enterEarly, mapped: enterLate, state: prepareChildrenLate },
  thread: { obstacles: threadApart },
};
