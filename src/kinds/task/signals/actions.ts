/** Converts signal actions between the kernel's structs and the image's list. Pure. */
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

/** The list entry for the kernel's `struct sigaction`. */
export function actionEntry(bytes: Uint8Array): SaEntry {
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
