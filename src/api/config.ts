/**
 * Configuration files: one long option a line without its dashes, perhaps a value, perhaps a comment.
 *
 *     # for all containers
 *     tcp-established
 *     ghost-limit 8M                      # the value may stand in quotes:
 *     external "mnt[/data]:my \"data\""
 *
 * They are read in CRIU's order, and later ones win: /etc/criu/default.conf, ~/.criu/default.conf, $CRIU_CONFIG_FILE,
 * --config FILE; then the command line. `--config` and `--no-default-config` both switch the two default files off.
 */

import { errnoNameOf, StasisError } from '../base/errors.ts';
import { disk } from '../kernel/disk.ts';
import { byLongName } from './getopt.ts';
import { OPTIONS } from './options.ts';
import type { Given } from './values.ts';

/** A line that is neither empty nor only a comment. */
export interface ConfigLine {
  readonly name: string;
  readonly value: string | undefined;
  /** Where it stands: `file:12`. */
  readonly at: string;
}

/** What decides which files are read. */
export interface ConfigChoice {
  /** `--config FILE`. */
  readonly file?: string | undefined;
  /** `--no-default-config`. */
  readonly noDefaults?: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A file to read; one that must exist is an error when it does not. */
export interface ConfigFile {
  readonly path: string;
  readonly mustExist: boolean;
  /** Nobody named the file, so it is passed over if it may not be read, as where a user has inherited root's HOME. */
  readonly byDefault?: boolean;
}

/** The files to read, in the order in which they are applied. */
export function configFiles(choice: ConfigChoice): ConfigFile[] {
  const files: ConfigFile[] = [];
  if (choice.file === undefined && !choice.noDefaults) {
    files.push({ path: '/etc/criu/default.conf', mustExist: false, byDefault: true });
    if (choice.env.HOME)
      files.push({ path: `${choice.env.HOME}/.criu/default.conf`, mustExist: false, byDefault: true });
  }
  // CRIU goes on silently without the file the environment names; engines that set it everywhere count on that.
  if (choice.env.CRIU_CONFIG_FILE) files.push({ path: choice.env.CRIU_CONFIG_FILE, mustExist: false });
  if (choice.file !== undefined) files.push({ path: choice.file, mustExist: true });
  return files;
}

/**
 * Reads the options of a file. A file that need not exist, and does not, has none; nor has a file read by default that
 * may not be read.
 *
 * @throws StasisError (usage for a mistake in the file, with file and line; io when it cannot be read)
 */
export function readConfigFile(file: ConfigFile): Given[] {
  let text: string | undefined;
  let failed: unknown;
  try {
    text = disk.readText(file.path);
  } catch (error) {
    failed = error;
  }
  if (text === undefined) {
    if (!failed && !file.mustExist) return []; // the usual case
    const code = failed ? errnoNameOf(failed) : 'ENOENT';
    if (code === 'EACCES' && file.byDefault) return [];
    throw new StasisError({
      kind: 'io',
      resource: file.path,
      reason: `the configuration file cannot be read (${code})`,
      remedy: code === 'ENOENT' ? 'check the path' : undefined,
      cause: failed,
    });
  }
  return parseConfig(text, file.path).map(meant);
}

/**
 * Takes a configuration file's text apart, without knowing the options.
 *
 * @throws StasisError (usage) for an open quote or something behind the value
 */
export function parseConfig(text: string, file: string): ConfigLine[] {
  const lines: ConfigLine[] = [];
  text.split('\n').forEach((line, index) => {
    const parsed = parseLine(line, `${file}:${index + 1}`);
    if (parsed) lines.push(parsed);
  });
  return lines;
}

function parseLine(line: string, at: string): ConfigLine | undefined {
  const start = line.trim();
  if (start === '' || start.startsWith('#')) return undefined;
  const [, word = '', rest = ''] = /^([^\s#]+)\s*(.*)$/s.exec(start) ?? [];
  if (word.startsWith('-')) throw mistake(at, word, 'options stand here without their dashes', word.replace(/^-+/, ''));
  const equals = word.indexOf('=');
  if (equals >= 0) {
    nothingMore(rest, word, at);
    return { name: word.slice(0, equals), value: word.slice(equals + 1), at };
  }
  if (rest === '' || rest.startsWith('#')) return { name: word, value: undefined, at };
  if (rest.startsWith('"')) {
    const quoted = /^"((?:\\"|[^"\\]|\\(?!"))*)"(.*)$/s.exec(rest);
    if (!quoted) throw mistake(at, word, 'the quote is never closed', `${word} "value"`);
    nothingMore(quoted[2] as string, word, at); // both groups always match
    return { name: word, value: (quoted[1] as string).replaceAll('\\"', '"'), at };
  }
  const [, value = '', more = ''] = /^([^\s#]+)(.*)$/s.exec(rest) ?? [];
  nothingMore(more, word, at);
  return { name: word, value: value.replaceAll('\\"', '"'), at };
}

function nothingMore(rest: string, word: string, at: string): void {
  const more = rest.trim();
  if (more !== '' && !more.startsWith('#')) {
    throw mistake(at, word, `there is something behind the value: ${more}`, `${word} "value with spaces"`);
  }
}

/** Finds the option a line means; the rules for names are those of the command line. */
function meant(line: ConfigLine): Given {
  try {
    const { option, negated } = byLongName(line.name, OPTIONS);
    const as = negated ? `no-${option.long}` : option.long;
    if (option.arg === undefined && line.value !== undefined) {
      throw new StasisError({ kind: 'usage', resource: as, reason: 'takes no value', remedy: `write ${as} alone` });
    }
    if (option.arg !== undefined && !option.argOptional && line.value === undefined) {
      throw new StasisError({
        kind: 'usage',
        resource: as,
        reason: 'needs a value',
        remedy: `write ${as} ${option.arg}`,
      });
    }
    return { option, negated, value: line.value, as, at: line.at };
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    throw error.with({ resource: `${line.at}: ${error.resource}`, cause: error });
  }
}

function mistake(at: string, word: string, reason: string, instead: string): StasisError {
  return new StasisError({ kind: 'usage', resource: `${at}: ${word}`, reason, remedy: `write ${instead}` });
}
