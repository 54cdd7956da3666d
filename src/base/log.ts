/**
 * The log: CRIU's levels and line shape, because runc, Podman and others grep it.
 *
 *     (00.012345) Error (dump.ts:12): task 17: fd 3: …
 *
 * At levels below 3 the time is left out. Lines go to a sink set by the command (a log file, or stderr). Until then
 * they are kept in memory.
 */

/** The levels of `-v0` … `-v4`: 1 errors, 2 warnings (the default), 3 information, 4 debugging; 0 logs nothing. */
export type LogLevel = 0 | 1 | 2 | 3 | 4;

type Sink = (line: string) => void;

const started = performance.now();
let level: LogLevel = 2;
let sink: Sink | undefined;
let early: { readonly at: number; readonly text: string }[] = [];

/** Sets how much is logged. */
export function setLogLevel(wanted: LogLevel): void {
  level = wanted;
}

/** Calls `work`, of which nothing is logged. */
export function silently<T>(work: () => T): T {
  const before = level;
  level = 0;
  try {
    return work();
  } finally {
    level = before;
  }
}

/** Whether a line of this level would be printed. Callers ask before they build a costly message. */
export function logs(wanted: LogLevel): boolean {
  return wanted <= level;
}

/**
 * Sends all lines to `next` from now on, beginning with those kept so far; with none they are kept, as at the start.
 */
export function setLogSink(next: Sink | undefined): void {
  sink = next;
  if (!next) return;
  for (const { at, text } of early) next(lineOf(at, text));
  early = [];
}

function emit(text: string): void {
  const at = performance.now() - started;
  if (sink) sink(lineOf(at, text));
  else early.push({ at, text });
}

/** From level 3 on a line begins with the seconds since the start, as with CRIU. */
function lineOf(at: number, text: string): string {
  return level < 3 ? `${text}\n` : `(${(at / 1000).toFixed(6).padStart(9, '0')}) ${text}\n`;
}

/** Logs an error; `at` is the file it comes from, as `dump.ts`. */
export function logError(at: string, message: string): void {
  if (logs(1)) emit(`Error (${at}): ${message}`);
}

/** Logs a warning: something is lost or odd, and the work goes on. */
export function logWarn(at: string, message: string): void {
  if (logs(2)) emit(`Warn  (${at}): ${message}`);
}

/** Logs a step of the work. */
export function logInfo(message: string): void {
  if (logs(3)) emit(message);
}

/** Logs a detail. */
export function logDebug(message: string): void {
  if (logs(4)) emit(message);
}
