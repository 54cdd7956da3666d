/** `exec -p PID CALL [ARG…]`: runs one syscall in another process, which then goes on as if nothing had happened. */

import { StasisError } from '../base/errors.ts';
import { openLog } from './logfile.ts';
import type { Invocation } from './settings.ts';

/** Runs the command; returns its exit code. Needs no privileges of its own: the kernel decides who may trace whom. */
export async function run({ settings, operands }: Invocation): Promise<number> {
  const [call, ...args] = operands;
  if (settings.pid === undefined || call === undefined) {
    throw new StasisError({
      kind: 'usage',
      reason: call === undefined ? 'a syscall is missing' : 'which process is to run it is missing',
      remedy: 'exec -p PID CALL [ARG...], as in: exec -p 4711 getpid',
    });
  }
  openLog(settings.logFile, settings.verbosity);
  return execute(settings.pid, call, args);
}

/** TO BE REPLACED by the engine's. */
async function execute(_pid: number, _call: string, _args: readonly string[]): Promise<number> {
  throw new StasisError({ kind: 'unsupported', resource: 'exec', reason: 'this command is not built yet' });
}
