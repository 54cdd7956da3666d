/** The security label Stasis itself has. */

import type { DumpContext, RestoreContext } from '../contract/contract.ts';
import { type HasSlots, Slot } from '../contract/slots.ts';
import { readLabel, type SecurityLabel } from '../kernel/proc/label.ts';

/** Our label, which all has that we make; undefined where no module gives labels. */
export function ownLabel(context: DumpContext | RestoreContext): SecurityLabel | undefined {
  return OWN_LABEL.of(context);
}

const OWN_LABEL = new Slot((_: HasSlots) => readLabel('self'));
