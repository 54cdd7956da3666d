/** Whether a task may have transparent huge pages (PR_SET_THP_DISABLE). */
import type { RestoreTask } from '../contract/contract.ts';
import { PR } from '../kernel/constants/prctl.ts';

/** Sets what the images say. */
export function allowHugePages({ mm, ownState, batch }: RestoreTask): void {
  if (!mm.thp_disabled) {
    batch.call('prctl', PR.SET_THP_DISABLE, 0, 0, 0, 0);
    return;
  }
  // 1, or with flags 1 | flags << 1 … as PR_GET_THP_DISABLE tells them: bit 0 is "disabled", the rest are the flags.
  const { thp = 1 } = (ownState.process ?? {}) as { readonly thp?: number };
  batch.call('prctl', PR.SET_THP_DISABLE, 1, thp & ~1, 0, 0);
}
