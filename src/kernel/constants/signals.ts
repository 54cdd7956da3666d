/** Signals (include/uapi/asm-generic/signal.h, siginfo.h). The numbers hold on x86, arm64 and ppc64. */

export const SIG = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
  /** The kernel's first real-time signal; libc keeps some for itself. */
  RTMIN: 32,
  RTMAX: 64,
} as const;

/** Signals are numbered from 1 to this. */
export const NSIG = 64;

/** `SIGTERM`, `SIGRT34`, … for 1 to 64; the number as text for others. */
export function signalName(signo: number): string {
  const entry = Object.entries(SIG).find(([name, number]) => number === signo && !name.startsWith('RT'));
  if (entry) return `SIG${entry[0]}`;
  return signo >= SIG.RTMIN && signo <= NSIG ? `SIGRT${signo}` : String(signo);
}

/** The bit of a signal in the kernel's 64-bit masks. */
export function signalBit(signo: number): bigint {
  return 1n << BigInt(signo - 1);
}

/** The mask of all signals. */
export const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
/** Bytes of a mask, which the calls with masks are told. */
export const SIGSET_SIZE = 8;

/** `how` of rt_sigprocmask. */
export const SIG_HOW = { BLOCK: 0, UNBLOCK: 1, SETMASK: 2 } as const;
/** Handler values that are not addresses. */
export const SIG_HANDLER = { DFL: 0n, IGN: 1n } as const;

export const SA = {
  NOCLDSTOP: 1n,
  NOCLDWAIT: 2n,
  SIGINFO: 4n,
  UNSUPPORTED: 0x400n,
  EXPOSE_TAGBITS: 0x800n,
  /** x86-64 cannot return from a handler without; elsewhere the vdso stands in. */
  RESTORER: 0x04000000n,
  ONSTACK: 0x08000000n,
  RESTART: 0x10000000n,
  NODEFER: 0x40000000n,
  RESETHAND: 0x80000000n,
} as const;

export const SS = { ONSTACK: 1, DISABLE: 2, AUTODISARM: 0x80000000 } as const;

/** `si_code` of signals that were sent; those the kernel raises are positive. */
export const SI = {
  USER: 0,
  KERNEL: 0x80,
  QUEUE: -1,
  TIMER: -2,
  MESGQ: -3,
  ASYNCIO: -4,
  SIGIO: -5,
  TKILL: -6,
  ASYNCNL: -60,
} as const;

/** `sigev_notify`. */
export const SIGEV = { SIGNAL: 0, NONE: 1, THREAD: 2, THREAD_ID: 4 } as const;

/** `si_code` of SIGCHLD. */
export const CLD = { EXITED: 1, KILLED: 2, DUMPED: 3, TRAPPED: 4, STOPPED: 5, CONTINUED: 6 } as const;
/** `si_code` of SIGTRAP. */
export const TRAP = { BRKPT: 1, TRACE: 2, BRANCH: 3, HWBKPT: 4, UNK: 5 } as const;
