/** What failed, out of the output of `bun test`: for those who see only the end of a long run. */

import { stripVTControlCharacters } from 'node:util';

/** Lines that are shown of one failure: the first ones, and the last ones, which say where in the test it was. */
const FIRST = 36;
const LAST = 4;

/** Lines that are shown of an output that names no test: of one that never began, or was ended. */
const END = 20;

/**
 * The failures that an output of `bun test` tells, each of them beginning with the name of its test. Bun writes what
 * went wrong above the name, below an excerpt of the code, which is left out.
 */
export function failuresIn(output) {
  const lines = stripVTControlCharacters(output).trimEnd().split('\n');
  const failures = [];
  let told = [];
  for (const [at, line] of lines.entries()) {
    const ended = /^\((pass|fail|skip|todo)\) /.test(line);
    if (line.startsWith('(fail) ')) {
      // A test that took too long says so below its name.
      const late = lines[at + 1]?.startsWith('  ^ ') ? [lines[at + 1]] : [];
      failures.push([line, ...late, ...shortened(withoutCode(told))].join('\n'));
    }
    told = ended ? [] : [...told, line];
  }
  return failures.length > 0 ? failures : [lines.slice(-END).join('\n')];
}

/** From the first error on. */
function withoutCode(lines) {
  const error = lines.findIndex((line) => /^(\w*Error|error): /.test(line));
  return lines.slice(Math.max(error, 0)).filter((line) => !/^\s*\d+ \| |^\s*\^$/.test(line));
}

function shortened(lines) {
  const left = lines.length - FIRST - LAST;
  return left <= 0 ? lines : [...lines.slice(0, FIRST), `… ${left} lines …`, ...lines.slice(-LAST)];
}
