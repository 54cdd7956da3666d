import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { OPTIONS } from '../../../src/api/options.ts';
import { manualPage } from '../../../src/cli/manual.ts';

describe('the manual page', () => {
  const page = manualPage();
  test('in docs/ is in step with the tables: npm run manual writes it', () => {
    expect(readFileSync(new URL('../../../docs/stasis.1', import.meta.url), 'utf8')).toBe(page);
  });
  test('names every option', () => {
    for (const { long, value } of OPTIONS) {
      if (value.type !== 'removed') expect(page).toContain(`\\fB${`--${long}`.replaceAll('-', '\\-')}\\fR`);
    }
  });
  test('has only the requests of man(7) at the beginnings of lines', () => {
    for (const line of page.split('\n')) expect(line).toMatch(/^(\.(\\"|TH|SH|SS|TP|PP|B|I|br)( |$)|[^.'].*$|$)/);
  });
});
