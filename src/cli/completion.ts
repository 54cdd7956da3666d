/** `completion SHELL`: completion scripts made from the tables of options and commands. */

import { OPTIONS, type OptionRow } from '../api/options.ts';
import { standingOf } from '../api/refusals.ts';
import type { Command } from '../api/settings.ts';
import { COMMAND_TEXTS, type CommandText } from './commands.ts';

/** The names the script completes for. */
const PROGRAMS = ['stasis', 'criu'] as const;

/** The script for a shell. */
export function completionScript(shell: string): string {
  return shell === 'bash' ? bash() : shell === 'zsh' ? zsh() : fish();
}

/** The commands there are, with the options that change something for them. */
function commands(): { text: CommandText; options: readonly OptionRow[] }[] {
  return COMMAND_TEXTS.map((text) => {
    const [command] = text.commands;
    return { text, options: command === undefined ? [] : optionsOf(command) };
  });
}

function optionsOf(command: Command): readonly OptionRow[] {
  return OPTIONS.filter((option) => option.value.type !== 'removed' && standingOf(option, command) === 'built');
}

/** `--long` and, where there is one, `--no-long`. */
function longs(option: OptionRow): string[] {
  return [`--${option.long}`, ...(option.negatable ? [`--no-${option.long}`] : [])];
}

/** The words an argument is one of, if they are known. */
function choices({ value, long }: OptionRow): readonly string[] {
  if (value.type === 'choice') return Object.keys(value.choices);
  return long === 'cpu-cap' ? ['cpu', 'fpu', 'ins', 'all', 'none'] : [];
}

const SHELL_WORDS = 'bash zsh fish';

/** The words after which an argument of this option stands, as alternatives of a `case`. */
function triggers(option: OptionRow): string {
  return [...(option.short ? [`-${option.short}`] : []), `--${option.long}`].join('|');
}

function bash(): string {
  const all = commands();
  const withArgument = [...new Set(all.flatMap(({ options }) => options))].filter((option) => option.arg !== undefined);
  const argumentCases = withArgument
    .filter((option) => !option.argOptional)
    .map((option) => `    ${triggers(option)}) ${bashArgument(option)}; return ;;`);
  const words = all.map(({ text }) => text.word).join(' ');
  const optionCases = all
    .filter(({ options }) => options.length > 0)
    .map(({ text, options }) => `    ${text.word}) words="${options.flatMap(longs).join(' ')}" ;;`);
  return `# bash completion for Stasis; made by "stasis completion bash".
_stasis() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command= word words
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
    ${all.map(({ text }) => text.word).join('|')}) command=$word; break ;;
    esac
  done
  case $previous in
${argumentCases.join('\n')}
  esac
  case $command in
    help) COMPREPLY=($(compgen -W "${words}" -- "$current")); return ;;
    completion) COMPREPLY=($(compgen -W "${SHELL_WORDS}" -- "$current")); return ;;
    crit) COMPREPLY=($(compgen -W "decode encode info show x" -f -- "$current")); return ;;
${optionCases.join('\n')}
    *) words="${words} --help --version" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o filenames ${'-F _stasis '}${PROGRAMS.join(' ')}
`;
}

function bashArgument(option: OptionRow): string {
  const known = choices(option);
  if (known.length > 0) return `COMPREPLY=($(compgen -W "${known.join(' ')}" -- "$current"))`;
  if (option.completes === 'directory') return 'COMPREPLY=($(compgen -d -- "$current"))';
  if (option.completes === 'file') return 'COMPREPLY=($(compgen -f -- "$current"))';
  if (option.completes === 'process') {
    return 'COMPREPLY=($(compgen -W "$(cd /proc && echo [0-9]*)" -- "$current"))';
  }
  return ':';
}

function zsh(): string {
  const all = commands();
  const summaries = all.map(({ text }) => `    ${zshQuote(`${text.word}:${text.summary}`)}`);
  const cases = all
    .filter(({ options }) => options.length > 0)
    .map(({ text, options }) => `    ${text.word}) _arguments -s ${options.flatMap(zshSpecs).join(' \\\n      ')} ;;`);
  return `#compdef ${PROGRAMS.join(' ')}
# zsh completion for Stasis; made by "stasis completion zsh".
_stasis() {
  local -a commands
  local word command=
  commands=(
${summaries.join('\n')}
  )
  for word in \${words[2,CURRENT-1]}; do
    case $word in
    ${all.map(({ text }) => text.word).join('|')}) command=$word; break ;;
    esac
  done
  case $command in
    '') _describe command commands ;;
    help) _describe command commands ;;
    completion) _values shell ${SHELL_WORDS} ;;
    crit) _alternative 'actions:action:(decode encode info show x)' 'files:file:_files' ;;
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _stasis ]; then _stasis "$@"; else compdef _stasis ${PROGRAMS.join(' ')}; fi
`;
}

function zshSpecs(option: OptionRow): string[] {
  const text = option.help.replaceAll('[', '(').replaceAll(']', ')').replaceAll(':', ' -');
  const argument = option.arg === undefined ? '' : zshArgument(option);
  const attached = option.arg === undefined ? '' : option.argOptional ? '=-' : '=';
  const specs = [zshQuote(`*--${option.long}${attached}[${text}]${argument}`)];
  if (option.short)
    specs.push(
      zshQuote(
        `*-${option.short}${option.arg === undefined ? '' : option.argOptional ? '-' : '+'}[${text}]${argument}`,
      ),
    );
  if (option.negatable) specs.push(zshQuote(`*--no-${option.long}[not\\: ${text}]`));
  return specs;
}

function zshArgument(option: OptionRow): string {
  const known = choices(option);
  const colon = option.argOptional ? '::' : ':';
  const name = (option.arg ?? '').replaceAll(':', '\\:').replaceAll('[', '').replaceAll(']', '');
  if (known.length > 0) return `${colon}${name}:(${known.join(' ')})`;
  const action = { directory: '_files -/', file: '_files', process: '_pids' };
  return `${colon}${name}:${option.completes ? action[option.completes] : ' '}`;
}

function zshQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fish(): string {
  const all = commands();
  const none = `not __fish_seen_subcommand_from ${all.map(({ text }) => text.word).join(' ')}`;
  const lines = PROGRAMS.flatMap((program) => [
    `complete -c ${program} -f`,
    ...all.map(
      ({ text }) => `complete -c ${program} -n ${fishQuote(none)} -a ${text.word} -d ${fishQuote(text.summary)}`,
    ),
    `complete -c ${program} -n '__fish_seen_subcommand_from completion' -a ${fishQuote(SHELL_WORDS)}`,
    `complete -c ${program} -n '__fish_seen_subcommand_from help' -a ${fishQuote(all.map(({ text }) => text.word).join(' '))}`,
    `complete -c ${program} -n '__fish_seen_subcommand_from crit' -F`,
    ...all.flatMap(({ text, options }) => options.flatMap((option) => fishOption(program, text.word, option))),
  ]);
  return `# fish completion for Stasis; made by "stasis completion fish".\n${lines.join('\n')}\n`;
}

function fishOption(program: string, command: string, option: OptionRow): string[] {
  const start = `complete -c ${program} -n '__fish_seen_subcommand_from ${command}'`;
  const short = option.short ? ` -s ${option.short}` : '';
  const lines = [`${start} -l ${option.long}${short}${fishArgument(option)} -d ${fishQuote(option.help)}`];
  if (option.negatable) lines.push(`${start} -l no-${option.long} -d ${fishQuote(`not: ${option.help}`)}`);
  return lines;
}

function fishArgument(option: OptionRow): string {
  if (option.arg === undefined || option.argOptional) return '';
  const known = choices(option);
  if (known.length > 0) return ` -x -a ${fishQuote(known.join(' '))}`;
  if (option.completes === 'directory') return " -x -a '(__fish_complete_directories)'";
  if (option.completes === 'process') return " -x -a '(__fish_complete_pids)'";
  return option.completes === 'file' ? ' -r -F' : ' -x';
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
