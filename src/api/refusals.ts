/**
 * Decides, by the table of options, what giving an option with a command means. All faces ask here, so that what is
 * refused on the command line is refused in a configuration file, over RPC and in a program as well, in the same words.
 */

import { ObstacleError, StasisError } from '../base/errors.ts';
import type { OptionRow } from './options.ts';
import { type Command, defaultSettings, type Settings } from './settings.ts';

/** See {@link OptionRow}; `foreign`: the option has no meaning for the command. */
export type Standing = 'built' | 'later' | 'idle' | 'foreign';

/** An option somebody gave. */
export interface Asked {
  readonly option: OptionRow;
  /** How people wrote it: `--tree`, `-t`, `tree` of a configuration file or of a program's options. */
  readonly as: string;
  /** The configuration file and line, as `file:12`; undefined: it was given with the command itself. */
  readonly at?: string;
}

/** What the options of one command come to. */
export interface Judgement {
  /** What must be refused; undefined: nothing. */
  readonly refusal: StasisError | undefined;
  /** A sentence for each option that is accepted and changes nothing, for the log. */
  readonly notes: readonly string[];
}

/** What the table says of an option with a command. */
export function standingOf(option: OptionRow, command: Command): Standing {
  if (option.built.includes(command)) return 'built';
  if (option.later?.includes(command)) return 'later';
  if (option.idle?.in.includes(command)) return 'idle';
  // Callers give a pre-dump the options of the dump that follows, which say how the rest of the tree is carried.
  return command === 'pre-dump' && standingOf(option, 'dump') !== 'foreign' ? 'idle' : 'foreign';
}

/** Why an option that is accepted changes nothing. */
export function whyIdle({ idle }: OptionRow, command: Command): string {
  return idle?.in.includes(command) ? idle.because : 'a pre-dump saves memory only';
}

/**
 * Judges all options that were given with a command. An option that has no meaning for the command is a mistake when it
 * was given with the command itself; a configuration file serves all commands, so there it is only noted.
 *
 * @param settings what the options come to together
 */
export function judge(asked: readonly Asked[], command: Command, settings: Settings): Judgement {
  const notes: string[] = [];
  const foreign: StasisError[] = [];
  const unbuilt: StasisError[] = [];
  for (const one of asked) {
    const { option, as, at } = one;
    const standing = standingOf(option, command);
    if (standing === 'idle') notes.push(`${as} changes nothing here: ${whyIdle(option, command)}`);
    else if (standing === 'foreign' && (at !== undefined || !asksForSomething(option, settings)))
      notes.push(`${as} has no meaning for ${command}`);
    else if (standing === 'foreign') foreign.push(meaningless(one, command));
    else if (standing === 'later' && asksForSomething(option, settings)) unbuilt.push(notBuilt(one, command));
    else if (option.value.type === 'command line' && at !== undefined)
      notes.push(`${at}: ${as} has no effect in a configuration file`);
  }
  return { refusal: together(foreign, 'some options have no meaning here') ?? together(unbuilt, UNBUILT), notes };
}

const UNBUILT = 'some options are not built yet';

function together(errors: readonly StasisError[], reason: string): StasisError | undefined {
  return errors.length > 1 ? new ObstacleError(reason, errors) : errors[0];
}

/** Whether an option asks for anything. Engines give dozens of flags that are off and choices that are the default. */
function asksForSomething({ value }: OptionRow, settings: Settings): boolean {
  switch (value.type) {
    case 'flag':
    case 'choice':
      return settings[value.key] !== defaultSettings()[value.key];
    case 'cpuCap':
      return settings.cpuCap.image; // `none` asks for no comparison, and none is made
    case 'command line':
      return false;
    default:
      return true;
  }
}

function meaningless({ option, as }: Asked, command: Command): StasisError {
  const places = [...option.built, ...(option.later ?? []), ...(option.idle?.in ?? [])];
  return new StasisError({
    kind: 'usage',
    resource: as,
    reason: `is for ${listed(places)}, not for ${command}`,
    remedy: REMEDIES[`${option.long} ${command}`] ?? 'leave it out',
  });
}

/** What to write instead, by option and command. */
const REMEDIES: Readonly<Record<string, string>> = {
  'pid dump': 'dump takes --tree, -t',
  'pid check': 'check takes --tree, -t',
  'tree exec': 'exec takes --pid, -p',
};

/** `a`, `a and b`, `a, b and c`. */
function listed(words: readonly string[]): string {
  const last = words.at(-1) ?? 'no command';
  return words.length > 1 ? `${words.slice(0, -1).join(', ')} and ${last}` : last;
}

function notBuilt({ as, at }: Asked, command: Command): StasisError {
  return new StasisError({
    kind: 'unsupported',
    code: 'OPTION_NOT_BUILT',
    resource: at === undefined ? as : `${at}: ${as}`,
    reason: `not built yet for ${command}`,
    remedy: 'leave it out; --help marks the options that are not built yet',
  });
}
