/**
 * Signals that ask Stasis to end: SIGINT, SIGTERM, SIGHUP. They are recorded, and checked at points where the work can
 * be given up, which undoes it. The engine is synchronous, so a handler of the runtime would never be called, and
 * another thread of the runtime may get the signal. So the handler is machine code.
 *
 * While they are watched for, sleeping system calls end with EINTR (no SA_RESTART), so that no wait goes on after a
 * signal.
 */

import { thisArch } from '../arch/index.ts';
import { InterruptedError } from '../base/errors.ts';
import { SA, SIG } from '../kernel/constants/signals.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { ERRNO, SyscallError } from '../kernel/syscall.ts';
import { actionOf, SignalHandler } from './signal-handler.ts';

const ENDING = [SIG.HUP, SIG.INT, SIG.TERM] as const;
/** The recorded signals. Signals that Stasis was started to ignore, as by nohup(1), stay ignored. */
let watched: readonly number[] = [];

/** The handler writes the signal number here. It may still run at the very end, so this buffer is never freed. */
let noted: PinnedBuffer<Int32Array> | undefined;
let handler: SignalHandler | undefined;
/**
 * Whether a signal ends the work: not before signals are watched for, not after one was reported, and not at the very
 * end.
 */
let counts = false;

/** Starts to record these signals, which do not end Stasis directly any more. */
export function watchForInterruption(): void {
  noted ??= new PinnedBuffer(new Int32Array(1));
  handler = new SignalHandler(thisArch().noteCode(noted.address));
  watched = ENDING.filter((signal) => actionOf(signal) === 'default');
  for (const signal of watched) handler.handle(signal, 0n);
  counts = true;
}

/** Watches for signals again after {@link pointOfNoReturn}, where further work follows; nothing if nobody has. */
export function watchAgain(): void {
  if (!handler || counts) return;
  endWatch();
  watchForInterruption();
}

/** The signal that has come, whether it still counts or not; undefined if none has. */
export function notedSignal(): number | undefined {
  return (noted && Atomics.load(noted.view, 0)) || undefined;
}

/** Whether a signal has come that {@link requireUninterrupted} will report. */
export function isInterrupted(): boolean {
  return counts && notedSignal() !== undefined;
}

/**
 * Called where the work can be given up. It reports a signal once, so that the cleanup after it is not interrupted.
 * @throws InterruptedError
 */
export function requireUninterrupted(): void {
  const signal = counts ? notedSignal() : undefined;
  if (signal === undefined) return;
  stopWatching();
  throw new InterruptedError(signal);
}

/**
 * The deciding moment: a signal that came before is reported, and one that comes later has no effect.
 * @throws InterruptedError
 */
export function pointOfNoReturn(): void {
  // The order matters: after the first call no signal interrupts a call any more, and all that did have been recorded.
  restartCalls();
  requireUninterrupted();
  stopWatching();
}

/**
 * The error that ended the work. If it is an interruption, it gets the text that says what has become of the tasks,
 * unless it has one.
 */
export function withOutcome(error: unknown, outcome: string): unknown {
  if (error instanceof InterruptedError) return error.reason ? error : new InterruptedError(error.signal, outcome);
  const signal = notedSignal();
  const wasInterrupted = signal !== undefined && error instanceof SyscallError && error.errno === ERRNO.EINTR;
  return wasInterrupted ? new InterruptedError(signal, outcome) : error;
}

/** The recorded signals. */
export function watchedSignals(): readonly number[] {
  return watched;
}

/** Restores the actions of the signals. */
export function endWatch(): void {
  counts = false;
  handler?.[Symbol.dispose]();
  handler = undefined;
  watched = [];
}

function stopWatching(): void {
  counts = false;
  restartCalls();
}

function restartCalls(): void {
  for (const signal of watched) handler?.handle(signal, SA.RESTART);
}
