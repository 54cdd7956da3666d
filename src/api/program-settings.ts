/** Makes settings from the options that a program gives, which the table checks as it does those of a command line. */

import { StasisError } from '../base/errors.ts';
import { OPTIONS, type OptionRow } from './options.ts';
import { type Asked, judge, standingOf } from './refusals.ts';
import { type Command, defaultSettings, type Settings } from './settings.ts';

/**
 * The settings of a command: CRIU's defaults, except what `options` has. An undefined option counts as not given.
 *
 * @throws StasisError (usage, unsupported) for an option there is not, that has no meaning for the command, that is not
 *   built yet, or whose value is not what it takes
 */
export function settingsFor(command: Command, options: object): Settings {
  const settings = defaultSettings();
  const asked: Asked[] = [];
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const option = rowOf(key, value, command);
    const wanted = shape(option);
    if (!wanted.fits(value)) throw mistake(key, `cannot be ${shown(value)}`, wanted.form);
    Object.assign(settings, { [key]: value });
    asked.push({ option, as: key });
  }
  const { refusal } = judge(asked, command, settings);
  if (refusal) throw refusal;
  return settings;
}

/**
 * The row a setting belongs to. Several rows may write one setting; the one that fits the value and the command counts.
 */
function rowOf(key: string, value: unknown, command: Command): OptionRow {
  const rows = OPTIONS.filter((row) => !row.terminal && keysOf(row).includes(key));
  const [first] = rows;
  if (!first) throw mistake(key, 'there is no such option', 'see the declaration of Settings');
  const fitting = rows.filter(({ value: to }) => to.type !== 'state' || to.state === value);
  return fitting.find((row) => standingOf(row, command) === 'built') ?? fitting[0] ?? first;
}

function keysOf({ value }: OptionRow): readonly string[] {
  return 'keys' in value ? value.keys : 'key' in value ? [value.key] : [];
}

interface Shape {
  readonly fits: (value: unknown) => boolean;
  readonly form: string;
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '' && !value.includes('\0');

function shape({ value }: OptionRow): Shape {
  switch (value.type) {
    case 'flag':
    case 'flags':
      return { fits: (given) => typeof given === 'boolean', form: 'true or false' };
    case 'text':
      return { fits: isText, form: 'a string that is not empty' };
    case 'texts':
    case 'commaTexts':
    case 'external':
      return { fits: (given) => Array.isArray(given) && given.every(isText), form: 'an array of strings' };
    case 'number':
      return numbers(value.least, value.most ?? 2 ** 31 - 1);
    case 'size':
      return numbers(0, Number.MAX_SAFE_INTEGER);
    case 'verbosity':
      return numbers(0, 4);
    case 'choice': {
      const words = [...new Set(Object.values(value.choices))];
      return { fits: (given) => words.some((word) => word === given), form: `one of ${words.join(', ')}` };
    }
    case 'state':
      return { fits: (given) => ['dead', 'running', 'stopped'].some((state) => state === given), form: STATES };
    case 'inheritFd':
      return { fits: everyOne((one) => isText(one.key) && isIndex(one.fd)), form: 'an array of { fd, key }' };
    case 'addressMap':
      return {
        fits: everyOne((one) => isText(one.key) && isText(one.value)),
        form: 'an array of { key, value }',
      };
    case 'cgroupRoot':
      return {
        fits: everyOne((one) => isText(one.value) && (one.key === undefined || typeof one.key === 'string')),
        form: 'an array of { key, value }',
      };
    default:
      return { fits: () => true, form: '' }; // not built for any command: refused by name
  }
}

const STATES = 'dead, running or stopped';

function numbers(least: number, most: number): Shape {
  const fits = (given: unknown): boolean => isIndex(given) && Number(given) >= least && Number(given) <= most;
  return { fits, form: `a whole number from ${least} to ${most}` };
}

function isIndex(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function everyOne(fits: (one: Readonly<Record<string, unknown>>) => boolean): (value: unknown) => boolean {
  return (value) =>
    Array.isArray(value) && value.every((one) => typeof one === 'object' && one !== null && fits({ ...one }));
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : Array.isArray(value) ? 'this array' : String(value);
}

function mistake(key: string, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'usage', resource: key, reason, remedy });
}
