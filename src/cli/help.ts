/** The help text, made from the option table: ASCII, and no line longer than 80 columns. */

import { OPTION_GROUPS, OPTIONS, type OptionRow } from './options.ts';

const WIDTH = 80;
/** Where the explanations begin. */
const COLUMN = 30;

const COMMANDS: readonly (readonly [string, string])[] = [
  ['dump -t PID', 'freeze a process tree and write it into image files'],
  ['restore', 'bring a tree back from its image files'],
  ['check', 'say what this kernel offers; with -t PID, what a dump would meet'],
  ['exec -p PID CALL [ARG...]', 'run one syscall in another process, which then goes on'],
  ['crit ...', 'read, change and explain image files; "crit --help" says how'],
];

const LATER: readonly string[] = ['pre-dump', 'page-server', 'lazy-pages', 'service', 'swrk', 'dedup', 'cpuinfo'];

/** The whole help text, for a program called `program`. */
export function helpText(program: string): string {
  const parts = [
    `Usage: ${program} COMMAND [OPTION...]`,
    section('Commands', [
      ...COMMANDS.flatMap(([left, right]) => entry(left, right)),
      ...entry('', `Not built yet: ${LATER.join(', ')}.`),
    ]),
    wrap(
      'Options may stand before or after the command and may be abbreviated. ' +
        'Those marked * are not built yet and are refused.',
      WIDTH,
    ).join('\n'),
    ...OPTION_GROUPS.map((group) =>
      section(group, OPTIONS.filter((o) => o.group === group && o.value.type !== 'removed').flatMap(optionEntry)),
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
  return `${parts.join('\n\n')}\n`;
}

function section(title: string, lines: readonly string[]): string {
  return `${title}:\n${lines.join('\n')}`;
}

function optionEntry(option: OptionRow): string[] {
  const short = option.short ? `-${option.short}, ` : '    ';
  const argument = option.arg === undefined ? '' : option.argOptional ? `[=${option.arg}]` : ` ${option.arg}`;
  const name = option.negatable ? `[no-]${option.long}` : option.long;
  return entry(`${short}--${name}${argument}${option.built.length === 0 ? ' *' : ''}`, option.help);
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
