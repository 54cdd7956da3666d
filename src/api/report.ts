/** How errors and notices reach people (a sentence and a hint), programs (`--json`) and the log (CRIU's line shape). */

import { asStasisError, InterruptedError, ObstacleError, type StasisError } from '../base/errors.ts';
import { addTo } from '../base/lists.ts';
import { logDebug, logError, logs, logWarn } from '../base/log.ts';
import type { Notice } from '../base/notice.ts';
import { signalName } from '../kernel/constants/signals.ts';
import { logGoesToFile } from './logfile.ts';
import { printable, printErr } from './print.ts';

/**
 * Reports the error that ends a command.
 *
 * @param at where it surfaced, as `dump.ts`, for the log
 */
export function report(thrown: unknown, at: string, json: boolean): void {
  const error = asStasisError(thrown);
  if (logGoesToFile()) toLog(error, at);
  printErr(json ? `${JSON.stringify(error)}\n` : `${forPeople(error)}\n`);
}

/**
 * Reports what a person has to know of work that was done, on stderr wherever the log goes; at `-v1` and below nothing.
 *
 * @param at which command it was, as `dump.ts`, for the log
 */
export function reportNotices(notices: readonly Notice[], at: string, { json }: { readonly json: boolean }): void {
  if (!logs(2)) return;
  for (const notice of notices) {
    if (logGoesToFile()) noticeToLog(notice, at);
    printErr(json ? `${JSON.stringify({ kind: 'warning', ...notice })}\n` : `${noticeForPeople(notice)}\n`);
  }
}

/** Writes a notice into the log; `at` is which command it was. */
export function noticeToLog({ message, remedy }: Notice, at: string): void {
  logWarn(at, withRemedy({ message, remedy }));
}

/** One line of the log: engines show no more than that, so it says what helps as well. */
function withRemedy({ message, remedy }: Pick<Notice, 'message' | 'remedy'>): string {
  return remedy ? `${message} (${remedy})` : message;
}

/** A notice as people read it: one sentence, and a hint if something can be done about it. */
export function noticeForPeople(notice: Notice): string {
  const hint = notice.remedy === undefined ? '' : `\nHint: ${printable(notice.remedy)}`;
  return `Warning: ${printable(notice.message)}${hint}`;
}

/** Writes an error into the log; `at` is where it surfaced. */
export function toLog(error: StasisError, at: string): void {
  if (error instanceof InterruptedError) {
    logWarn(at, `interrupted by ${signalName(error.signal)}: ${error.reason}`);
    return;
  }
  logError(at, withRemedy(error));
  if (error instanceof ObstacleError) for (const obstacle of error.obstacles) logError(at, withRemedy(obstacle));
  const stack = error.cause instanceof Error ? error.cause.stack : error.stack;
  if (stack && error.kind === 'internal') for (const line of stack.split('\n')) logDebug(line);
}

/** The error as people read it: one sentence, the obstacles if there are several, a hint. */
export function forPeople(error: StasisError): string {
  if (error instanceof InterruptedError)
    return `Interrupted by ${signalName(error.signal)}: ${printable(error.reason)}`;
  const lines = [`Error: ${printable(error.message)}`];
  if (error instanceof ObstacleError) {
    // If all share their remedy, it is the hint.
    const isShared = sharedRemedy(error) !== undefined;
    lines.push(...obstacleLines(error.obstacles, (obstacle) => (isShared ? undefined : obstacle.remedy)));
  }
  const hint = error.remedy ?? (error instanceof ObstacleError ? sharedRemedy(error) : undefined) ?? internal(error);
  if (hint) lines.push(`Hint: ${printable(hint)}`);
  return lines.join('\n');
}

/** So many obstacles of one kind, with one remedy, are told each by itself; a browser may hold thirty locks. */
const MOST_ALIKE = 5;

/**
 * Obstacles as lines of a list. Those of one kind that share a remedy stand together, above it; of many the first are
 * told, and the others counted: `--json` has them all.
 */
export function obstacleLines(
  obstacles: readonly StasisError[],
  remedyOf: (obstacle: StasisError) => string | undefined,
  tell: (obstacle: StasisError) => string = ({ message }) => message,
): string[] {
  const groups = new Map<unknown, StasisError[]>();
  for (const obstacle of obstacles) {
    addTo(groups, obstacle.remedy === undefined ? obstacle : `${obstacle.code} ${obstacle.remedy}`, obstacle);
  }
  return [...groups.values()].flatMap((alike) => {
    const shown = alike.length > MOST_ALIKE ? alike.slice(0, MOST_ALIKE - 1) : alike;
    const rest = alike.length - shown.length;
    const remedy = alike[0] && remedyOf(alike[0]);
    return [
      ...shown.map((obstacle) => `  - ${printable(tell(obstacle))}`),
      ...(rest > 0 ? [`  - and ${rest} more like these (--json lists all of them)`] : []),
      ...(remedy === undefined ? [] : [`    ${printable(remedy)}`]),
    ];
  });
}

function sharedRemedy(error: ObstacleError): string | undefined {
  const remedy = error.obstacles[0]?.remedy;
  return error.obstacles.every((o) => o.remedy === remedy) ? remedy : undefined;
}

function internal(error: StasisError): string | undefined {
  return error.kind === 'internal'
    ? 'this is a mistake in Stasis; a log written with -v4 -o FILE says more'
    : undefined;
}
