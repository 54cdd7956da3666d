import { describe, expect, test } from 'bun:test';
import { OPTION_GROUPS, OPTIONS } from '../../../src/api/options.ts';
import { standingOf } from '../../../src/api/refusals.ts';
import { COMMAND_TEXTS } from '../../../src/cli/commands.ts';
import { helpText } from '../../../src/cli/help.ts';

describe('help', () => {
  const help = helpText('stasis');
  test('is ASCII, of at most 80 columns, without trailing blanks', () => {
    for (const line of help.split('\n')) {
      expect(line).toMatch(/^[ -~]*$/);
      expect(line).not.toMatch(/ $/);
      expect(line.length).toBeLessThanOrEqual(80);
    }
  });
  test('names every option and every group once, and no option twice', () => {
    for (const group of OPTION_GROUPS) expect(help).toContain(`\n${group}:\n`);
    for (const option of OPTIONS) {
      if (option.value.type === 'removed') continue;
      const name = `--${option.negatable ? `\\[no-\\]` : ''}${option.long}(?![\\w-])`;
      expect(help.match(new RegExp(`^  (-\\w,|   ) ${name}`, 'gm'))).toHaveLength(1);
    }
  });
  test('marks what is not built', () => {
    expect(help).toContain('--[no-]allow-uprobes *');
    expect(help).not.toContain('--tree PID *');
  });
});

describe.each(COMMAND_TEXTS.map((text) => [text.word, text] as const))('help of %s', (word, text) => {
  const help = helpText('stasis', word);
  test('is ASCII, of at most 80 columns, without trailing blanks', () => {
    for (const line of help.split('\n')) {
      expect(line).toMatch(/^[ -~]*$/);
      expect(line).not.toMatch(/ $/);
      expect(line.length).toBeLessThanOrEqual(80);
    }
  });
  test('says what the command does, and names its options and no others', () => {
    expect(help).toStartWith(`Usage: stasis ${text.synopsis}\n\n`);
    const [command] = text.commands;
    for (const option of OPTIONS) {
      const named = new RegExp(`^ +(-\\w, )?--(\\[no-\\])?${option.long}(?![\\w-])`, 'm').test(help);
      const expected =
        command !== undefined && option.value.type !== 'removed' && standingOf(option, command) !== 'foreign';
      expect({ option: option.long, named }).toEqual({ option: option.long, named: expected });
    }
  });
});
