/**
 * The bell: the signal by which a thread that is not ours says that it has come to the end of what it was to run. The
 * thread ignores it, so that it has no effect without a tracer; with one, its delivery is a stop.
 */
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { SI, SIG } from '../kernel/constants/signals.ts';
import { getSiginfo, peekSignals, type Stop } from './ptrace.ts';
import type { Tracee } from './tracee.ts';

/** Signals that may be the bell, the least used first: SIGSTKFLT, SIGPWR, SIGURG, SIGWINCH, SIGXCPU. */
const BELLS = [SIG.STKFLT, SIG.PWR, SIG.URG, SIG.WINCH, SIG.XCPU] as const;
/** Those of them that the kernel ignores where there is no handler, whether the process says so or not. */
const QUIET_BELLS: readonly number[] = [SIG.URG, SIG.WINCH];

/**
 * Chooses the bell. If it is known which signals are `caught`, it is preferably one that is ignored anyway, and not
 * pending in the leader, which it would be delivered to. Otherwise it is one that is pending in no thread, since the
 * kernel drops pending instances of a signal that becomes ignored (do_sigaction()).
 */
export function chooseBell(
  tgid: HostPid,
  leader: Tracee,
  others: readonly Tracee[],
  caught: bigint | undefined,
): { readonly signal: number; readonly isQuiet: boolean } {
  const pending = new Set<number>();
  const note = (infos: readonly Uint8Array[]): void => {
    for (const info of infos) pending.add(new DataView(info.buffer).getInt32(0, true));
  };
  note(peekSignals(leader.pid, false));
  note(peekSignals(leader.pid, true));
  if (caught !== undefined) {
    const signal = QUIET_BELLS.find((bell) => !pending.has(bell) && ((caught >> BigInt(bell - 1)) & 1n) === 0n);
    if (signal !== undefined) return { signal, isQuiet: true };
  }
  for (const { pid } of others) note(peekSignals(pid, false));
  const signal = BELLS.find((bell) => !pending.has(bell));
  if (signal !== undefined) return { signal, isQuiet: false };
  const reason = 'every signal Stasis could use is pending';
  throw new StasisError({ kind: 'unsupported', code: 'ALL_SIGNALS_PENDING', task: { pid: tgid }, reason });
}

/**
 * Whether a signal may be the one that ends a program. If RLIMIT_SIGPENDING is reached, the kernel drops the siginfo,
 * and all of it is 0, the sender too.
 */
export function mayBeOurs(info: Uint8Array): boolean {
  const view = new DataView(info.buffer, info.byteOffset);
  const code = view.getInt32(8, true);
  return code === SI.TKILL || (code === 0 && view.getInt32(16, true) === 0);
}

/** Tells which stops of a task are those of a bell; other processes may send that signal, too. */
export function bellOf({ pid }: Tracee, signal: number): (stop: Stop) => boolean {
  return (stop) => stop.kind === 'signal' && stop.signal === signal && mayBeOurs(getSiginfo(pid));
}
