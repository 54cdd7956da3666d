/** The security label of Stasis itself. */

import type { DumpContext, RestoreContext } from '../contract/contract.ts';
import { type HasSlots, Slot } from '../contract/slots.ts';
import { readLabel, type SecurityLabel } from '../kernel/proc/label.ts';

/** Our own label, which all processes we make inherit; undefined where no security module gives labels. */
export function ownLabel(context: DumpContext | RestoreContext): SecurityLabel | undefined {
  return OWN_LABEL.of(context);
}

const OWN_LABEL = new Slot((_: HasSlots) => readLabel('self'));
