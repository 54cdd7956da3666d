/** The manual page stasis(1), made from the tables of options and commands; `npm run manual` writes docs/stasis.1. */

import { OPTION_GROUPS, OPTIONS, type OptionRow } from '../api/options.ts';
import { CRIU_VERSION, STASIS_VERSION } from '../api/version.ts';
import { COMMAND_TEXTS } from './commands.ts';

/** The page as roff source, with the macros of man(7). */
export function manualPage(): string {
  const lines = [
    '.\\" Made from the tables of options and commands by "npm run manual"; do not edit.',
    `.TH STASIS 1 "" "Stasis ${STASIS_VERSION}" "Checkpoint and restore"`,
    '.SH NAME',
    'stasis, criu \\- checkpoint and restore process trees',
    '.SH SYNOPSIS',
    ...COMMAND_TEXTS.flatMap(({ synopsis }) => [`.B stasis`, plain(synopsis), '.br']),
    '.SH DESCRIPTION',
    plain(
      'Stasis freezes a process with its threads and all its descendants, writes everything the kernel knows about them ' +
        `into a folder of image files, and later builds the same processes again. It has the commands, options and image ` +
        `format of CRIU ${CRIU_VERSION}; called as criu it is the same program.`,
    ),
    '.SH COMMANDS',
    ...COMMAND_TEXTS.flatMap(({ synopsis, summary, about }) => [
      '.TP',
      `.B ${plain(synopsis)}`,
      plain(`${sentence(summary)} ${about.join(' ')}`),
    ]),
    '.SH OPTIONS',
    plain(
      'Options may stand before or after the command, and may be abbreviated as long as that is unambiguous. An option is ' +
        'refused with a command for which it has no meaning, and where it is not built yet.',
    ),
    ...OPTION_GROUPS.flatMap((group) => [
      `.SS ${plain(group)}`,
      ...OPTIONS.filter((option) => option.group === group && option.value.type !== 'removed').flatMap(optionLines),
    ]),
    '.SH FILES',
    ...['/etc/criu/default.conf', '~/.criu/default.conf'].flatMap((file) => ['.TP', `.I ${plain(file)}`, DEFAULTS]),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.flatMap(([name, text]) => ['.TP', `.B ${name}`, plain(text)]),
    '.SH EXIT STATUS',
    plain(
      '0 when the work was done, 1 when it was not; then the processes are as they were. A dump passes on the exit code of ' +
        'a post-dump action script that failed.',
    ),
    '.SH EXAMPLES',
    ...COMMAND_TEXTS.flatMap(({ examples }) =>
      examples.flatMap(([line, purpose]) => ['.TP', `.B stasis ${plain(line)}`, plain(`${sentence(purpose)}`)]),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

const DEFAULTS = plain('Options for all commands, one a line without its dashes.');

const ENVIRONMENT: readonly (readonly [name: string, text: string])[] = [
  ['CRIU_CONFIG_FILE', 'One more configuration file, read after the default ones.'],
  ['CRIU_LIBS_DIR', 'As --libdir.'],
  ['CRIU_DEPRECATED', 'As --deprecated.'],
];

function optionLines(option: OptionRow): string[] {
  const { short, long, arg, argOptional, negatable } = option;
  const argument = arg === undefined ? '' : ` \\fI${plain(arg)}\\fR`;
  const attached = arg === undefined ? '' : `[=\\fI${plain(arg)}\\fR]`;
  const written = `\\fB${plain(`--${long}`)}\\fR${argOptional ? attached : argument}`;
  const names = [
    ...(short ? [`\\fB\\-${short}\\fR`] : []),
    written,
    ...(negatable ? [`\\fB${plain(`--no-${long}`)}\\fR`] : []),
  ];
  return ['.TP', names.join(', '), plain(`${sentence(option.help)}${standing(option)}`)];
}

/** For which commands an option is, and why it changes nothing for others that accept it. */
function standing({ built, later = [], idle, value }: OptionRow): string {
  if (value.type === 'command line') return '';
  const works = named(built);
  const waits = named(later);
  return [
    works === '' ? '' : ` With ${works}.`,
    waits === '' ? '' : ` Not built yet for ${waits}.`,
    idle === undefined ? '' : ` Changes nothing with ${named(idle.in)}: ${idle.because}.`,
  ].join('');
}

function named(commands: readonly string[]): string {
  const there = COMMAND_TEXTS.flatMap((text) => text.commands);
  const listed = commands.filter((command) => there.some((one) => one === command));
  if (listed.length === there.length) return 'every command';
  const shown = listed.length === 0 ? commands : listed;
  const last = shown.at(-1) ?? '';
  return shown.length > 1 ? `${shown.slice(0, -1).join(', ')} and ${last}` : last;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Text as roff takes it literally: no escapes, no line that looks like a request, hyphens that can be copied. */
function plain(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('~', '\\(ti').replaceAll('^', '\\(ha');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
