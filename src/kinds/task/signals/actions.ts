/** Converts signal actions between the kernel's structs and the image's list. Pure. */
import { encodedOnce } from '../../../images/codec.ts';
import type { SaEntry } from '../../../images/schema/task.ts';
import { NSIG, SIG } from '../../../kernel/constants/signals.ts';
import { Sigaction } from '../../../kernel/layouts/signals.ts';

/** Signals that have an action, in the order of the image's list: all but SIGKILL and SIGSTOP. */
export function actionSignals(): number[] {
  const signals: number[] = [];
  for (let signal = 1; signal <= NSIG; signal++) {
    if (signal !== SIG.KILL && signal !== SIG.STOP) signals.push(signal);
  }
  return signals;
}

/** How many these are. */
export const ACTIONS = NSIG - 2;

/** The list that was made last: the processes of a tree mostly have the same actions. */
let latest: { readonly bytes: Uint8Array; readonly entries: readonly SaEntry[] } | undefined;

/** The list for the kernel's structs, one behind the other. */
export function actionEntries(bytes: Uint8Array): readonly SaEntry[] {
  if (latest && Buffer.compare(latest.bytes, bytes) === 0) return latest.entries;
  const entries = Array.from({ length: bytes.length / Sigaction.size }, (_, i) =>
    actionEntry(bytes.subarray(i * Sigaction.size, (i + 1) * Sigaction.size)),
  );
  latest = { bytes: bytes.slice(), entries: encodedOnce(entries) };
  return entries;
}

/** The list entry for the kernel's `struct sigaction`. */
function actionEntry(bytes: Uint8Array): SaEntry {
  const { handler, flags, restorer, mask } = Sigaction.decode(bytes);
  return { sigaction: handler, flags, restorer, mask, compat_sigaction: false };
}

/** The struct for rt_sigaction(2) of a list entry. */
export function actionBytes(entry: SaEntry): Uint8Array {
  const { sigaction, flags, restorer, mask } = entry;
  return Sigaction.encode({ handler: sigaction, flags, restorer, mask });
}

/** Whether an entry is the default action with neither flags nor mask: a struct of nothing but zeros. */
export function isPlain({ sigaction, flags, restorer, mask }: SaEntry): boolean {
  return sigaction === 0n && flags === 0n && restorer === 0n && mask === 0n;
}
