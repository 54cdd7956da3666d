/** Signals (include/uapi/asm-generic/siginfo.h, signal.h). */

import { bytes, i32, struct, u32, u64, type ValueOf } from './struct.ts';

/** `siginfo_t` is 128 bytes; what follows the first three fields depends on the code. */
export const SIGINFO_SIZE = 128;

/**
 * `siginfo_t` as most signals use it: sent by kill, sigqueue and tgkill (`pid`, `uid`, `value`), SIGCHLD (`pid`, `uid`,
 * the status in the low half of `value`). Signals of the kernel lay other things over: see {@link SiginfoTimer} and
 * {@link SiginfoFault}. Only the bytes carry everything.
 */
export const Siginfo = struct({ signo: i32, errno: i32, code: i32, pad: u32, pid: i32, uid: u32, value: u64 });
export type Siginfo = ValueOf<typeof Siginfo>;

/** `siginfo_t` of a POSIX timer (`SI_TIMER`). */
export const SiginfoTimer = struct({
  signo: i32,
  errno: i32,
  code: i32,
  pad: u32,
  timerId: i32,
  overrun: i32,
  value: u64,
});

/** `siginfo_t` of SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP raised by the kernel. */
export const SiginfoFault = struct({ signo: i32, errno: i32, code: i32, pad: u32, address: u64 });

/** A whole siginfo of 128 bytes with the given start, for rt_sigqueueinfo. */
export function encodeSiginfo(values: Partial<Siginfo>): Uint8Array {
  const out = new Uint8Array(SIGINFO_SIZE);
  Siginfo.encodeInto(out, 0, values);
  return out;
}

/** `struct sigaction` as rt_sigaction takes it with a mask size of 8; the same on x86-64, arm64 and ppc64. */
export const Sigaction = struct({ handler: u64, flags: u64, restorer: u64, mask: u64 });
export type Sigaction = ValueOf<typeof Sigaction>;

/** `stack_t`, of sigaltstack. */
export const StackT = struct({ sp: u64, flags: i32, size: u64 });
export type StackT = ValueOf<typeof StackT>;

/** `struct sigevent`, of timer_create. `tid` is for `SIGEV_THREAD_ID`. */
export const Sigevent = struct({ value: u64, signo: i32, notify: i32, tid: i32, rest: bytes(44) });
export type Sigevent = ValueOf<typeof Sigevent>;
