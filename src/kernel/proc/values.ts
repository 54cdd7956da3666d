/** Files of /proc with one value or a plain list, each named at its function. */

import { decodeText } from '../../base/text.ts';
import { bigDecimal, bigHex, decimal, hex, latin1, linesOf, malformed, words } from './common.ts';

/** `/proc/PID/comm`: the name, never escaped, and a newline. The name itself may hold newlines. */
export function parseComm(bytes: Uint8Array): string {
  const end = bytes.at(-1) === 10 ? bytes.length - 1 : bytes.length;
  return decodeText(bytes.subarray(0, end));
}

/** `/proc/PID/task/TID/children`: pids of the children this thread made; needs CONFIG_PROC_CHILDREN. */
export function parseChildren(bytes: Uint8Array): number[] {
  return words(latin1(bytes)).map((word) => decimal(word, '/proc/PID/task/TID/children'));
}

/** `/proc/PID/cmdline`, `environ`: strings ended by NUL. A last one without NUL (a changed title) counts too. */
export function parseStrings(bytes: Uint8Array): string[] {
  const out: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const nul = bytes.indexOf(0, at);
    const end = nul < 0 ? bytes.length : nul;
    out.push(decodeText(bytes.subarray(at, end)));
    at = end + 1;
  }
  return out;
}

/** `/proc/PID/personality`: hexadecimal. */
export function parsePersonality(bytes: Uint8Array): number {
  return hex(latin1(bytes).trim(), '/proc/PID/personality');
}

/**
 * `/proc/PID/coredump_filter`: hexadecimal bits of what a core dump takes; `undefined` for an empty file (a task
 * without memory).
 */
export function parseCoredumpFilter(bytes: Uint8Array): number | undefined {
  return bytes.length === 0 ? undefined : hex(latin1(bytes).trim(), '/proc/PID/coredump_filter');
}

/**
 * `/proc/PID/loginuid`, `sessionid`, `oom_score_adj`, `timerslack_ns`, `sys/kernel/ns_last_pid`: a decimal number,
 * below 2^53.
 */
export function parseNumber(bytes: Uint8Array, file: string): number {
  return decimal(latin1(bytes).trim(), file);
}

/** An autogroup: tasks, usually of one session, that the scheduler treats as one (sched_autogroup(7)). */
export interface Autogroup {
  readonly id: number;
  readonly nice: number;
}

/** `/proc/PID/autogroup`: `/autogroup-17 nice 5` (`proc_sched_autogroup_show_task()` in kernel/sched/autogroup.c). */
export function parseAutogroup(bytes: Uint8Array): Autogroup | undefined {
  const file = '/proc/PID/autogroup';
  const found = /^\/autogroup-(\d+) nice (-?\d+)/.exec(latin1(bytes));
  return found ? { id: decimal(found[1], file), nice: decimal(found[2], file) } : undefined;
}

/** Whether a task is in a system call, and in which. */
export type SyscallState =
  /** On a CPU; nothing more is known. */
  | { readonly kind: 'running' }
  /** Stopped outside of any system call. */
  | { readonly kind: 'outside'; readonly sp: bigint; readonly pc: bigint }
  | {
      readonly kind: 'inside';
      readonly nr: number;
      readonly args: readonly bigint[];
      readonly sp: bigint;
      readonly pc: bigint;
    };

/**
 * `/proc/PID/syscall` (fs/proc/base.c, `proc_pid_syscall()`); needs the right to ptrace. Throws `kernel` for another
 * format.
 */
export function parseSyscall(bytes: Uint8Array): SyscallState {
  const file = '/proc/PID/syscall';
  const [nr, ...rest] = words(latin1(bytes).trim());
  if (nr === 'running') return { kind: 'running' };
  const numbers = rest.map((word) => bigHex(word, file));
  const [pc, sp] = [numbers.pop(), numbers.pop()];
  if (sp === undefined || pc === undefined) throw malformed(file, latin1(bytes));
  if (nr === '-1') return { kind: 'outside', sp, pc };
  return { kind: 'inside', nr: decimal(nr, file), args: numbers, sp, pc };
}

/** `/proc/PID/io`: byte and call counts by the kernel's names (`rchar`, `read_bytes` …). */
export function parseIo(bytes: Uint8Array): ReadonlyMap<string, bigint> {
  const counts = new Map<string, bigint>();
  for (const line of linesOf(bytes)) {
    const [key, value] = line.split(': ');
    counts.set(key ?? '', bigDecimal(value, '/proc/PID/io'));
  }
  return counts;
}

/** `/proc/uptime`: seconds since boot (of the reader's time namespace). */
export function parseUptime(bytes: Uint8Array): number {
  const seconds = Number(words(latin1(bytes))[0]);
  if (!Number.isFinite(seconds)) throw malformed('/proc/uptime', latin1(bytes));
  return seconds;
}
