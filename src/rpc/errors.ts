/** What a client is told of a failure: CRIU's error number, and cause and remedy in words. */

import { forPeople } from '../api/report.ts';
import { ObstacleError, type StasisError } from '../base/errors.ts';
import { decodeText, encodeText } from '../base/text.ts';
import { ERRNO } from '../kernel/syscall.ts';

/** The most bytes of `cr_errmsg`: there are clients with a buffer of 1024 bytes for the whole answer. */
const ROOM = 900;

/** CRIU's number for an error of the work itself; most have none. What is wrong with a request is EBADRQC. */
export function errnoOf(error: StasisError): number | undefined {
  const { kind, code } = error;
  if (error instanceof ObstacleError) {
    const [first, ...others] = error.obstacles.map(errnoOf);
    return others.every((other) => other === first) ? first : undefined;
  }
  if (code === 'COMMAND_NOT_BUILT' || code === 'OPTION_NOT_BUILT') return ERRNO.EOPNOTSUPP;
  if (code === 'PID_TAKEN') return ERRNO.EEXIST;
  if (kind === 'gone') return ERRNO.ESRCH;
  return kind === 'usage' ? ERRNO.EBADRQC : undefined;
}

/** An error in words, in what room there is: of many obstacles the first are told, and how many more the log has. */
export function errorText(error: StasisError): string {
  const whole = encodeText(forPeople(error));
  if (whole.length <= ROOM) return decodeText(whole);
  if (!(error instanceof ObstacleError)) return cut(whole, ROOM);
  const { obstacles, message } = error;
  for (let count = obstacles.length - 1; count > 0; count--) {
    const told = forPeople(new ObstacleError(message, obstacles.slice(0, count)));
    const text = encodeText(`${told}\nand ${obstacles.length - count} more; the log has them all`);
    if (text.length <= ROOM) return decodeText(text);
  }
  return cut(whole, ROOM);
}

/** Cuts a text off, between two characters. */
function cut(bytes: Uint8Array, length: number): string {
  let end = length - 3;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return `${decodeText(bytes.subarray(0, end))}…`;
}
