/**
 * Reads a command line the way GNU `getopt_long` does, which scripts and engines that call CRIU rely on:
 * options before and after the operands, `--name=value` and `--name value`, unambiguous abbreviations, clusters of
 * short options (`-dv4`), optional arguments only when attached, `--` as the end of options. Pure functions.
 *
 * The single-dash oddity follows from the rules: `-verbosity=0` is `-v` with the argument `erbosity=0`.
 */

import { StasisError } from '../base/errors.ts';

/** What the parser has to know of an option. */
export interface OptionShape {
  readonly long: string;
  readonly short?: string;
  readonly arg?: string;
  readonly argOptional?: true;
  readonly negatable?: true;
  readonly own?: true;
}

/** An option met on the command line. */
export interface Found<T> {
  readonly option: T;
  readonly value: string | undefined;
  /** It was written `--no-NAME`. */
  readonly negated: boolean;
  /** Its name as people know it: `--no-stream`, `-t`. */
  readonly as: string;
}

/** A command line taken apart. */
export interface Scanned<T> {
  readonly found: readonly Found<T>[];
  readonly operands: readonly string[];
}

/** Whether the operands met so far end the options, as `exec PID SYSCALL` does; everything after is an operand. */
export type EndsOptions = (operands: readonly string[]) => boolean;

/**
 * Takes `args` apart by the options of `table`.
 *
 *     scan(['dump', '-vt5', '--leave-r'], OPTIONS)
 *     // -v without a value, -t with '5', --leave-running; operands: ['dump']
 *
 * @throws StasisError (usage) for an unknown or ambiguous option, a missing or a surplus argument
 */
export function scan<T extends OptionShape>(
  args: readonly string[],
  table: readonly T[],
  endsOptions: EndsOptions = () => false,
): Scanned<T> {
  const found: Found<T>[] = [];
  const operands: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] as string; // at < length
    if (arg === '--') {
      operands.push(...args.slice(at + 1));
      break;
    }
    if (arg.startsWith('--')) {
      at += long(arg, args[at + 1], table, found);
    } else if (arg.startsWith('-') && arg !== '-') {
      at += cluster(arg, args[at + 1], table, found);
    } else {
      operands.push(arg);
      if (endsOptions(operands)) {
        operands.push(...args.slice(at + 1));
        break;
      }
    }
  }
  return { found, operands };
}

/** One `--name[=value]`; returns how many of the following words it took (0 or 1). */
function long<T extends OptionShape>(
  arg: string,
  next: string | undefined,
  table: readonly T[],
  found: Found<T>[],
): number {
  const equals = arg.indexOf('=');
  const written = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
  const attached = equals < 0 ? undefined : arg.slice(equals + 1);
  const { option, negated } = byLongName(written, table);
  const as = negated ? `--no-${option.long}` : `--${option.long}`;
  if (option.arg === undefined) {
    if (attached !== undefined) throw usage(as, 'takes no argument', `write ${as} alone`);
    found.push({ option, value: undefined, negated, as });
    return 0;
  }
  if (attached !== undefined || option.argOptional) {
    found.push({ option, value: attached, negated, as });
    return 0;
  }
  if (next === undefined) throw missing(as, option);
  found.push({ option, value: next, negated, as });
  return 1;
}

/** One `-abc`: options without arguments, the last one perhaps with one; returns how many further words it took. */
function cluster<T extends OptionShape>(
  arg: string,
  next: string | undefined,
  table: readonly T[],
  found: Found<T>[],
): number {
  for (let i = 1; i < arg.length; i++) {
    const letter = arg[i] as string; // i < length
    const as = `-${letter}`;
    const option = table.find((o) => o.short === letter);
    if (!option) throw usage(as, arg.length > 2 ? `unknown option (in "${arg}")` : 'unknown option', SEE_HELP);
    if (option.arg === undefined) {
      found.push({ option, value: undefined, negated: false, as });
      continue;
    }
    const rest = i + 1 < arg.length ? arg.slice(i + 1) : undefined;
    if (rest !== undefined || option.argOptional) {
      found.push({ option, value: rest, negated: false, as });
      return 0;
    }
    if (next === undefined) throw missing(as, option);
    found.push({ option, value: next, negated: false, as });
    return 1;
  }
  return 0;
}

interface Meaning<T> {
  readonly option: T;
  readonly negated: boolean;
}

/**
 * The option a long name stands for: the exact one, else the only one it abbreviates. `no-` forms count as names.
 *
 * @throws StasisError (usage) when there is none, or more than one
 */
export function byLongName<T extends OptionShape>(written: string, table: readonly T[]): Meaning<T> {
  const exact = exactly(written, table);
  if (exact) return exact;
  const candidates: Meaning<T>[] = [];
  for (const option of table) {
    if (option.own) continue;
    if (option.long.startsWith(written)) candidates.push({ option, negated: false });
    if (option.negatable && `no-${option.long}`.startsWith(written)) candidates.push({ option, negated: true });
  }
  const [only, ...others] = candidates;
  if (only && others.length === 0) return only;
  if (only) {
    const names = candidates.map((c) => `--${c.negated ? 'no-' : ''}${c.option.long}`);
    throw usage(`--${written}`, 'is ambiguous', `write one of ${names.join(', ')}`);
  }
  throw unknownLong(written, table);
}

function exactly<T extends OptionShape>(written: string, table: readonly T[]): Meaning<T> | undefined {
  const positive = written.startsWith('no-') ? written.slice(3) : undefined;
  for (const option of table) {
    if (option.long === written) return { option, negated: false };
    if (option.negatable && option.long === positive) return { option, negated: true };
  }
  return undefined;
}

const SEE_HELP = '--help lists the options';

function unknownLong<T extends OptionShape>(written: string, table: readonly T[]): StasisError {
  const positive = written.startsWith('no-') ? table.find((o) => o.long === written.slice(3)) : undefined;
  if (positive) return usage(`--${written}`, 'unknown option', `--${positive.long} has no negative form`);
  const near = nearest(
    written,
    table.map((o) => o.long),
  );
  return usage(`--${written}`, 'unknown option', near ? `did you mean --${near}?` : SEE_HELP);
}

function missing(as: string, option: OptionShape): StasisError {
  const written = as.startsWith('--') ? `${as}=${option.arg}` : `${as} ${option.arg}`;
  return usage(as, 'needs an argument', `write ${written}`);
}

function usage(resource: string, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy });
}

/** The word that differs from `written` in at most two letters (a third of its length); undefined if none does. */
export function nearest(written: string, words: readonly string[]): string | undefined {
  let best: string | undefined;
  let bound = Math.min(2, Math.floor(written.length / 3)) + 1;
  for (const word of words) {
    const distance = editDistance(written, word);
    if (distance < bound) {
      best = word;
      bound = distance;
    }
  }
  return best;
}

/** Letters inserted, removed or replaced to come from one word to the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] as number) + (from[i - 1] === to[j - 1] ? 0 : 1); // j within row
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[to.length] as number;
}
