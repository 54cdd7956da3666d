/** Where the program starts: finds out its name and arguments, and ends promptly with the exit code. */

import { main } from './cli/main.ts';

main(process.argv.slice(2), programName()).then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(`Error: ${error}\n`);
    process.exit(1);
  },
);

/**
 * What we were called as. A compiled executable finds it in argv0 (its argv[1] is a path inside itself); from
 * source argv0 is the runtime, and the launcher passes the name on.
 */
function programName(): string {
  const passed = process.env.STASIS_PROGRAM;
  if (passed !== undefined) delete process.env.STASIS_PROGRAM; // not for those we start
  const path = passed ?? process.argv0;
  const name = path.slice(path.lastIndexOf('/') + 1);
  return name === 'bun' || name === 'node' ? 'stasis' : name;
}
