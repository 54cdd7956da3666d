/** The help texts, made from the tables of options and commands: ASCII, and no line longer than 80 columns. */

import { OPTION_GROUPS, OPTIONS, type OptionRow } from '../api/options.ts';
import { standingOf, whyIdle } from '../api/refusals.ts';
import type { Command } from '../api/settings.ts';
import { COMMAND_TEXTS, type CommandText, commandText } from './commands.ts';

const WIDTH = 80;
/** The column in which the explanations begin. */
const COLUMN = 30;

/** The whole help text for a program called `program`, or that of one command. */
export function helpText(program: string, topic?: string): string {
  const about = topic === undefined ? undefined : commandText(topic);
  return `${(about ? commandHelp(program, about) : generalHelp(program)).join('\n\n')}\n`;
}

function generalHelp(program: string): string[] {
  return [
    `Usage: ${program} COMMAND [OPTION...]`,
    section(
      'Commands',
      COMMAND_TEXTS.flatMap((text) => entry(shortSynopsis(text), text.summary)),
    ),
    paragraph(
      `"${program} help COMMAND" lists the options of one command. Options may stand before or after the command and ` +
        'may be abbreviated. Those marked * are not built yet and are refused.',
    ),
    ...OPTION_GROUPS.map((group) =>
      section(
        group,
        OPTIONS.filter((o) => o.group === group && o.value.type !== 'removed').flatMap((o) =>
          optionEntry(o, o.later !== undefined && o.built.length === 0),
        ),
      ),
    ),
    section(
      'Configuration files',
      wrap(
        'One option a line, without its dashes: /etc/criu/default.conf, then ~/.criu/default.conf, then the file ' +
          'named by CRIU_CONFIG_FILE, then that of --config. The command line has the last word.',
        WIDTH - 2,
      ).map((line) => `  ${line}`),
    ),
  ];
}

/** What a command needs, without what may be left out. */
function shortSynopsis({ synopsis, word }: CommandText): string {
  return word === 'exec' ? synopsis : synopsis.replace(/ \[(?!COMMAND).*$/, '');
}

function commandHelp(program: string, text: CommandText): string[] {
  const parts = [`Usage: ${program} ${text.synopsis}`, ...text.about.map(paragraph)];
  if (text.examples.length > 0) {
    const lines = text.examples.flatMap(([line, purpose]) => [`  ${program} ${line}`, ...indented(purpose, 6)]);
    parts.push(section('Examples', lines));
  }
  const [command] = text.commands;
  return command === undefined ? parts : [...parts, ...optionSections(command)];
}

function optionSections(command: Command): string[] {
  const offered = OPTIONS.filter((option) => option.value.type !== 'removed');
  const shown = (group: string): string[] =>
    offered
      .filter((option) => option.group === group && ['built', 'later'].includes(standingOf(option, command)))
      .flatMap((option) => optionEntry(option, standingOf(option, command) === 'later'));
  const sections = OPTION_GROUPS.map((group) => ({ group, lines: shown(group) })).filter(
    ({ lines }) => lines.length > 0,
  );
  const idle = offered.filter((option) => standingOf(option, command) === 'idle');
  const parts = sections.map(({ group, lines }) => section(group, lines));
  if (offered.some((option) => standingOf(option, command) === 'later')) {
    parts.push(paragraph('Options marked * are not built yet and are refused.'));
  }
  if (idle.length > 0) {
    const entries = idle.flatMap((option) => entry(`    --${option.long}`, whyIdle(option, command)));
    parts.push(section('Accepted, though nothing changes', entries));
  }
  return parts;
}

function section(title: string, lines: readonly string[]): string {
  return `${title}:\n${lines.join('\n')}`;
}

function paragraph(text: string): string {
  return wrap(text, WIDTH).join('\n');
}

function indented(text: string, by: number): string[] {
  return wrap(text, WIDTH - by).map((line) => ' '.repeat(by) + line);
}

function optionEntry(option: OptionRow, later: boolean): string[] {
  const short = option.short ? `-${option.short}, ` : '    ';
  const argument = option.arg === undefined ? '' : option.argOptional ? `[=${option.arg}]` : ` ${option.arg}`;
  const name = option.negatable ? `[no-]${option.long}` : option.long;
  return entry(`${short}--${name}${argument}${later ? ' *' : ''}`, option.help);
}

/** Left and right column; a left one that is too long gets a line of its own. */
function entry(left: string, right: string): string[] {
  const texts = wrap(right, WIDTH - COLUMN);
  const head = `  ${left}`;
  const fits = head.length < COLUMN - 1;
  const first = fits ? head.padEnd(COLUMN) + texts.shift() : head;
  return [first, ...texts.map((text) => ' '.repeat(COLUMN) + text)];
}

/** Breaks a text into lines of at most `width` columns, at blanks. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
