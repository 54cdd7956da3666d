/**
 * Signals that ask Stasis to end: SIGINT, SIGTERM, SIGHUP. They are noted, and looked for where the work can be given
 * up; giving it up undoes it. The engine is synchronous, so that no handler of the runtime would ever be called, and
 * other threads of the runtime may get the signal: the handler is machine code.
 *
 * While they are watched for, system calls that sleep end with EINTR (no SA_RESTART), so that nothing waits on after
 * one.
 */

import { thisArch } from '../arch/index.ts';
import { InterruptedError } from '../base/errors.ts';
import { SA, SIG } from '../kernel/constants/signals.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { ERRNO, SyscallError } from '../kernel/syscall.ts';
import { actionOf, SignalHandler } from './signal-handler.ts';

const ENDING = [SIG.HUP, SIG.INT, SIG.TERM] as const;
/** Those that are noted: what we were started to ignore, as by nohup(1), stays so. */
let watched: readonly number[] = [];

/** The handler writes the signal's number here. It may still run when all else is over, so that this stays. */
let noted: PinnedBuffer<Int32Array> | undefined;
let handler: SignalHandler | undefined;
/**
 * Whether a signal still ends the work: not before it is watched for, nor when it has been told, nor at the very end.
 */
let counts = false;

/** Notes such signals from now on. They do not end us any more by themselves. */
export function watchForInterruption(): void {
  noted ??= new PinnedBuffer(new Int32Array(1));
  handler = new SignalHandler(thisArch().noteCode(noted.address));
  watched = ENDING.filter((signal) => actionOf(signal) === 'default');
  for (const signal of watched) handler.handle(signal, 0n);
  counts = true;
}

/** The signal that has come, if one has, whether it still counts or not. */
export function notedSignal(): number | undefined {
  return (noted && Atomics.load(noted.view, 0)) || undefined;
}

/** Whether a signal has come that {@link requireUninterrupted} will tell. */
export function isInterrupted(): boolean {
  return counts && notedSignal() !== undefined;
}

/**
 * To be called where the work can be given up. Tells of a signal once: what is undone afterwards is not interrupted.
 * @throws InterruptedError
 */
export function requireUninterrupted(): void {
  const signal = counts ? notedSignal() : undefined;
  if (signal === undefined) return;
  stopWatching();
  throw new InterruptedError(signal);
}

/**
 * The moment that decides: a signal that came before is told, one that comes later changes nothing any more.
 * @throws InterruptedError
 */
export function pointOfNoReturn(): void {
  // In this order: once the signals disturb nothing any more, whatever had disturbed has been noted.
  restartCalls();
  requireUninterrupted();
  stopWatching();
}

/**
 * The error that work ended with, as an interruption if it is one: then it says what has become of the tasks, unless it
 * does so already.
 */
export function withOutcome(error: unknown, outcome: string): unknown {
  if (error instanceof InterruptedError) return error.reason ? error : new InterruptedError(error.signal, outcome);
  const signal = notedSignal();
  const wasInterrupted = signal !== undefined && error instanceof SyscallError && error.errno === ERRNO.EINTR;
  return wasInterrupted ? new InterruptedError(signal, outcome) : error;
}

/** The signals that are noted. */
export function watchedSignals(): readonly number[] {
  return watched;
}

/** Gives the signals back their actions. */
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
