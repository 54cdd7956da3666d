/**
 * The log: CRIU's levels and line shape, because runc, Podman and others grep it.
 *
 *     (00.012345) Error (dump.ts:12): task 17: fd 3: …
 *
 * Lines go to a sink set by the command (a log file, or stderr). Until then early lines are kept in memory.
 */

/** As `-v0` … `-v4`: error 1, warning 2 (the default), information 3, debugging 4; 0 prints only messages. */
export type LogLevel = 0 | 1 | 2 | 3 | 4;

type Sink = (line: string) => void;

const started = performance.now();
let level: LogLevel = 2;
let sink: Sink | undefined;
let early: string[] = [];
let firstError: string | undefined;

/** Sets how much is logged. */
export function setLogLevel(wanted: LogLevel): void {
  level = wanted;
}

/** Whether a line of this level would be printed; guards costly messages. */
export function logs(wanted: LogLevel): boolean {
  return wanted <= level;
}

/** Sends lines to `next` from now on, those kept so far first. */
export function setLogSink(next: Sink): void {
  sink = next;
  for (const line of early) next(line);
  early = [];
}

/** The first error line logged, as RPC reports it in `cr_errmsg`. */
export function firstErrorLine(): string | undefined {
  return firstError;
}

function emit(text: string): void {
  const elapsed = (performance.now() - started) / 1000;
  const line = `(${elapsed.toFixed(6).padStart(9, '0')}) ${text}\n`;
  if (sink) sink(line);
  else early.push(line);
}

/** Logs an error; `at` is the file it comes from, as `dump.ts`. */
export function logError(at: string, message: string): void {
  firstError ??= message;
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
