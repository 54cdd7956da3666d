/** Gives sessions and processes their terminals, or takes them away, at a restore. */
import type { TaskKind } from '../../../contract/contract.ts';
import { nameForeground, takeControl } from './control.ts';
import { giveUp, giveUpLate } from './lack.ts';

export { handOutMasters } from './rebuild.ts';

export const sessionRebuild = {
  terminal: takeControl,
  files(task) {
    nameForeground(task);
    giveUp(task);
  },
  state: giveUpLate,
} satisfies TaskKind['rebuild'];
