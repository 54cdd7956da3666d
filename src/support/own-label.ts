/** The security label Stasis itself has. */

import type { DumpContext, RestoreContext } from '../contract/contract.ts';
import { readLabel, type SecurityLabel } from '../kernel/proc/label.ts';

/** Our label, which all has that we make; undefined where no module gives labels. */
export function ownLabel(context: DumpContext | RestoreContext): SecurityLabel | undefined {
  return context.shared('security label of Stasis', () => readLabel('self'));
}
