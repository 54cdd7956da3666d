/**
 * The name `criu-ns`, under which CRIU has a script: `criu-ns restore` restores into new PID and mount namespaces,
 * `criu-ns dump` and `pre-dump` work inside of those of the tree, and everything else is as under the name `criu`.
 */

import { report } from '../api/report.ts';
import { StasisError } from '../base/errors.ts';
import { readCommandLine } from './commandline.ts';

type Main = (argv: readonly string[], programName: string) => Promise<number>;

/** Runs one command line; `main` is the entry of the program. */
export async function run(argv: readonly string[], main: Main): Promise<number> {
  const words = withoutBinary(argv);
  const [command] = words;
  if (command === 'restore') return main([command, '--new-pidns', ...words.slice(1)], 'criu');
  if (command !== 'dump' && command !== 'pre-dump') return main(words, 'criu');
  try {
    const pid = treeOf(words);
    if (pid !== undefined) {
      const { dumpInside } = await import('./apart.ts');
      const code = dumpInside(pid, words);
      if (code !== undefined) return code;
    }
  } catch (error) {
    report(error, 'criu-ns.ts', argv.includes('--json'));
    return 1;
  }
  return main(words, 'criu');
}

/** Which program does the work is told to the script of CRIU; here it is this one. */
function withoutBinary(argv: readonly string[]): string[] {
  const at = argv.indexOf('--criu-binary');
  return argv.filter((_, i) => at < 0 || (i !== at && i !== at + 1));
}

/** The process that is dumped; undefined for a command line that is wrong, of which the command itself tells. */
function treeOf(words: readonly string[]): number | undefined {
  try {
    const request = readCommandLine(words, process.env);
    return request.action === 'run' ? request.invocation.settings.tree : undefined;
  } catch (error) {
    if (error instanceof StasisError) return undefined;
    throw error;
  }
}
