/**
 * Turns words into an {@link Invocation}: the command, its settings and its operands, checked as far as is possible
 * without looking at the machine. Configuration files are read, and nothing is changed.
 */

import { configFiles, readConfigFile } from '../api/config.ts';
import { type Found, nearest, scan } from '../api/getopt.ts';
import type { Invocation } from '../api/invocation.ts';
import { STORE } from '../api/option-commands.ts';
import { OPTIONS, type OptionRow } from '../api/options.ts';
import { type Judgement, judge } from '../api/refusals.ts';
import { type Command, defaultSettings, type Settings } from '../api/settings.ts';
import { applyOption, type Given, settle } from '../api/values.ts';
import { StasisError } from '../base/errors.ts';

/** What a command line asks for. */
export type Request =
  /** `topic`: the word of one command, whose help is asked for. */
  | { readonly action: 'help'; readonly topic: string | undefined }
  | { readonly action: 'completion'; readonly shell: string }
  | { readonly action: 'version' }
  | { readonly action: 'run'; readonly invocation: Invocation; readonly refusal: StasisError | undefined };

/** The commands as written, first word first. */
// biome-ignore format: names in a row
const COMMANDS: readonly string[] = [
  'dump', 'restore', 'check', 'exec', 'crit', 'help', 'completion',
  'pre-dump', 'lazy-pages', 'page-server', 'migrate', 'service', 'swrk', 'dedup', 'cpuinfo', 'store', 'show',
];

/**
 * Understands a command line. What is not built yet comes back as a refusal instead of being thrown, so that the
 * caller can open the log first: engines and test drivers look for the reason there.
 *
 * @throws StasisError (usage; io for an unreadable configuration file)
 */
export function readCommandLine(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Request {
  const { found, operands } = scanOrHelp(args);
  const [word = '', second] = operands;
  if (given(found, 'help')) return { action: 'help', topic: COMMANDS.includes(word) ? word : undefined };
  if (given(found, 'version')) return { action: 'version' };
  if (word === 'help') return { action: 'help', topic: second === undefined ? undefined : known(second) };
  if (word === 'completion') return { action: 'completion', shell: shellOf(operands) };
  const { command, rest } = commandOf(operands);
  const everything = [...configured(found, env), ...found];
  if (everything.some((g) => g.option.long === 'help')) return { action: 'help', topic: word };
  const draft = defaultSettings();
  for (const one of everything) applyOption(draft, one);
  const settings = settle(draft, env);
  const { refusal, notes } = OPTIONLESS.includes(command) ? NOTHING : judge(everything, command, settings);
  if (refusal?.kind !== 'usage') checkTogether(command, settings, rest);
  const invocation = { command, settings, operands: rest, notes };
  return { action: 'run', invocation, refusal };
}

/** Commands that read their own arguments, or none. */
const OPTIONLESS: readonly Command[] = ['crit', 'swrk', 'show'];
const NOTHING: Judgement = { refusal: undefined, notes: [] };

/** Help is given even for a command line that is otherwise wrong. */
function scanOrHelp(args: readonly string[]): ReturnType<typeof scan<OptionRow>> {
  try {
    return scan(args, OPTIONS, endsOptions);
  } catch (error) {
    const end = args.indexOf('--');
    const words = end < 0 ? args : args.slice(0, end);
    if (!words.includes('--help') && !words.includes('-h')) throw error;
    return scan(['--help', ...words.filter((word) => COMMANDS.includes(word)).slice(0, 1)], OPTIONS);
  }
}

/** Whether our options end here: what follows the name of a system call, or `crit`, belongs to that. */
function endsOptions(operands: readonly string[]): boolean {
  return operands[0] === 'crit' || (operands[0] === 'exec' && operands.length === 2);
}

function given(found: readonly Found<OptionRow>[], long: string): Found<OptionRow> | undefined {
  return found.find((f) => f.option.long === long);
}

/** The options of all configuration files, in order. */
function configured(found: readonly Found<OptionRow>[], env: Readonly<Record<string, string | undefined>>): Given[] {
  const file = found.findLast((f) => f.option.long === 'config')?.value;
  return configFiles({ file, noDefaults: given(found, 'no-default-config') !== undefined, env }).flatMap(
    readConfigFile,
  );
}

function commandOf(operands: readonly string[]): { command: Command; rest: readonly string[] } {
  const [word, second] = operands;
  if (word === undefined) {
    throw usage(undefined, 'a command is missing', `one of ${COMMANDS.slice(0, 5).join(', ')}; --help says more`);
  }
  if (word === 'cpuinfo') {
    if (second !== 'dump' && second !== 'check') throw usage('cpuinfo', 'needs "dump" or "check" after it', undefined);
    return { command: `cpuinfo ${second}`, rest: operands.slice(2) };
  }
  if (word === 'store') {
    const command = STORE.find((one) => one === `store ${second}`);
    if (!command) throw usage('store', 'needs "add", "get", "ls", "rm", "gc" or "check" after it', undefined);
    return { command, rest: operands.slice(2) };
  }
  return { command: known(word) as Command, rest: operands.slice(1) }; // help and completion were dealt with before
}

/** @throws StasisError (usage) when there is no such command */
function known(word: string): string {
  if (COMMANDS.includes(word)) return word;
  const near = nearest(word, COMMANDS);
  throw usage(word, 'unknown command', near ? `did you mean ${near}?` : '--help lists the commands');
}

/** The shells there are completions for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;

function shellOf([, shell, ...more]: readonly string[]): string {
  const shells: readonly string[] = SHELLS;
  if (shell !== undefined && shells.includes(shell) && more.length === 0) return shell;
  throw usage('completion', 'needs the name of a shell', `completion ${SHELLS.join('|')}`);
}

/** Checks options that need one another, or exclude one another. @throws StasisError (usage) */
function checkTogether(command: Command, settings: Settings, rest: readonly string[]): void {
  if (settings.execCmd) {
    if (rest.length === 0) throw usage('--exec-cmd', 'needs a command', 'restore --exec-cmd -- COMMAND …');
    if (settings.detached) {
      throw usage('--exec-cmd', 'cannot be used with --restore-detached', 'leave one of them out');
    }
  } else if (rest.length > 0 && !TAKES_OPERANDS.includes(command)) {
    throw usage(rest.join(' '), `too much for ${command}`, 'options begin with a dash; --help lists them');
  }
  if (command === 'dump' || command === 'pre-dump' || command === 'migrate') {
    if (settings.tree === undefined) throw usage(undefined, 'no process was named', 'name it with --tree PID');
  }
  if (settings.restoreSibling && !settings.detached) {
    throw usage('--restore-sibling', 'only makes sense with --restore-detached', 'add -d');
  }
  if (settings.emptyNetNs && settings.joinNs.some((join) => join.ns === 'net')) {
    throw usage('--join-ns', 'cannot be used with --empty-ns for the same namespace', 'leave one of them out');
  }
}

const TAKES_OPERANDS: readonly Command[] = ['exec', 'crit', 'swrk', 'service', 'page-server', 'lazy-pages', ...STORE];

function usage(resource: string | undefined, reason: string, remedy: string | undefined): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy });
}
