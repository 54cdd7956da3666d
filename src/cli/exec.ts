/** `exec -p PID CALL [ARG…]`: runs one syscall in another process, which then goes on as if nothing had happened. */

import type { Invocation } from '../api/invocation.ts';
import { openLog } from '../api/logfile.ts';
import { printOut } from '../api/print.ts';
import { interruptible } from '../api/signals.ts';
import { hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { decodeText } from '../base/text.ts';
import { type ExecArgument, type ExecOutcome, execRemote } from '../engine/exec.ts';
import { describeErrno } from '../kernel/syscall.ts';

/** Runs the command; returns its exit code. Needs no privileges of its own: the kernel decides who may trace whom. */
export async function run({ settings, operands }: Invocation): Promise<number> {
  const [call, ...args] = operands;
  if (settings.pid === undefined || call === undefined) {
    throw new StasisError({
      kind: 'usage',
      reason: call === undefined ? 'no system call was named' : 'no process was named',
      remedy: 'exec -p PID CALL [ARG...], as in: exec -p 4711 getpid',
    });
  }
  openLog(settings.logFile, settings.verbosity);
  const pid = hostPid(settings.pid);
  const patience = settings.timeout || Number.POSITIVE_INFINITY;
  const outcome = interruptible(() => execRemote(pid, call, args.map(parseArgument), patience));
  print(call, outcome);
  return outcome.result < 0 ? 1 : 0;
}

/**
 * A number (`12`, `-1`, `0x1f`, `0755`) is itself; `@64` is a buffer of 64 bytes for the call to fill, printed
 * afterwards; anything else, or what follows a `&`, is a string, passed as a pointer.
 */
export function parseArgument(word: string): ExecArgument {
  const negative = word.startsWith('-');
  const digits = negative ? word.slice(1) : word;
  if (/^(0x[0-9a-f]+|\d+)$/i.test(digits)) {
    const octal = /^0[0-7]+$/.test(digits);
    const value = BigInt(octal ? `0o${digits.slice(1)}` : digits);
    return { kind: 'number', value: negative ? -value : value };
  }
  if (/^@\d+$/.test(word)) return { kind: 'buffer', size: Number(word.slice(1)) };
  return { kind: 'string', text: word.startsWith('&') ? word.slice(1) : word };
}

function print(call: string, { result, buffers }: ExecOutcome): void {
  const shown = result < 0 && result > -4096 ? `${result} (${describeErrno(result)})` : `${result}`;
  const lines = [`${call} = ${shown}`, ...buffers.map((bytes, i) => `buffer ${i + 1}: ${readable(bytes)}`)];
  printOut(`${lines.join('\n')}\n`);
}

/** Text where it is text, else hexadecimal bytes; trailing zeros are left out. */
function readable(bytes: Uint8Array): string {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  const used = bytes.subarray(0, end);
  const isText = used.every((byte) => byte >= 0x20 && byte !== 0x7f);
  return isText ? JSON.stringify(decodeText(used)) : Buffer.from(used).toString('hex');
}
