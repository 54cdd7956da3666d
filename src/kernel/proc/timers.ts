/**
 * `/proc/PID/timers` (fs/proc/base.c, `show_timer()`): the POSIX timers of a process; needs CONFIG_CHECKPOINT_RESTORE.
 */

import { bigHex, decimal, linesOf, malformed } from './common.ts';

/** How the expiry of a timer is notified (SIGEV_*). */
export type TimerNotify = 'signal' | 'none' | 'thread';

/** One POSIX timer. */
export interface ProcTimer {
  readonly id: number;
  readonly signo: number;
  /** `sigev_value` as 64 bits. */
  readonly sigval: bigint;
  readonly notify: TimerNotify;
  /** True for `SIGEV_THREAD_ID`: the target is a thread and not the process. */
  readonly toThread: boolean;
  /** Pid or tid of the target in the reader's pid namespace. */
  readonly target: number;
  /** `CLOCK_*`; negative for the CPU clock of a task. */
  readonly clockId: number;
}

const FILE = '/proc/PID/timers';

/** Parses the file; an empty list without timers. Throws `kernel` for another format. */
export function parseTimers(bytes: Uint8Array): ProcTimer[] {
  const lines = linesOf(bytes);
  const out: ProcTimer[] = [];
  for (let i = 0; i < lines.length; i += 4) {
    const value = (offset: number, key: string): string => {
      const line = lines[i + offset];
      if (!line?.startsWith(`${key}: `)) throw malformed(FILE, `no "${key}" in line ${i + offset + 1}`);
      return line.slice(key.length + 2);
    };
    const [signo, sigval] = value(1, 'signal').split('/');
    const target = /^(signal|none|thread)\/(pid|tid)\.(-?\d+)$/.exec(value(2, 'notify'));
    if (!target) throw malformed(FILE, `line ${i + 3}`);
    out.push({
      id: decimal(value(0, 'ID'), FILE),
      signo: decimal(signo, FILE),
      sigval: pointer(sigval),
      notify: target[1] as TimerNotify, // the pattern allows these three
      toThread: target[2] === 'tid',
      target: decimal(target[3], FILE),
      clockId: decimal(value(3, 'ClockID'), FILE),
    });
  }
  return out;
}

/** `%p` of a null pointer is `(null)`, padded, in kernels before 4.15. */
function pointer(piece: string | undefined): bigint {
  return piece?.trim() === '(null)' ? 0n : bigHex(piece, FILE);
}
