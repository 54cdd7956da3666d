/**
 * Checks the width of comments. The formatter breaks code at 120 columns and leaves comments as they are, so lines that
 * hold a comment are checked here. Lines without one are left to the formatter: a string that it cannot break may be
 * longer.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { home } from './setup.mjs';

/** In columns; the same number as `lineWidth` in biome.json. */
const WIDTH = 120;
const FOLDERS = ['src', 'test', 'bench', 'scripts'];
const EXTENSION = /\.(ts|mjs|c|h)$/;

/** The lines of a source text that hold a comment and are too wide, counted from 1, each with its width. */
export function wideComments(text) {
  const wide = [];
  let inBlock = false;
  for (const [index, line] of text.split('\n').entries()) {
    const opens = /(^|\s)\/\*/.test(line);
    const isComment = inBlock || opens || /(^|\s)\/\//.test(line);
    // Code points, since a character outside of the basic plane is two units of a string and one column.
    const width = [...line].length;
    if (isComment && width > WIDTH) wide.push({ line: index + 1, width });
    if (inBlock || opens) inBlock = line.lastIndexOf('*/') < line.lastIndexOf('/*') || !line.includes('*/');
  }
  return wide;
}

/** Checks all sources; returns the complaints. */
export function checkWidths() {
  const complaints = [];
  for (const folder of FOLDERS) {
    for (const entry of readdirSync(join(home, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !EXTENSION.test(entry.name)) continue;
      const path = join(entry.parentPath ?? entry.path, entry.name);
      for (const { line, width } of wideComments(readFileSync(path, 'utf8'))) {
        complaints.push(`${path.slice(home.length + 1)}:${line}: a comment of ${width} columns; at most ${WIDTH}`);
      }
    }
  }
  return complaints;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const complaints = checkWidths();
  for (const line of complaints) console.error(line);
  process.exitCode = complaints.length > 0 ? 1 : 0;
}
