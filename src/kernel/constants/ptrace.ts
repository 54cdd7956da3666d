/**
 * ptrace (include/uapi/linux/ptrace.h, elf.h). Requests below 0x4200 differ between architectures; the ones here do
 * not, but that arm64 has neither PEEKUSER nor POKEUSER.
 */

export const PTRACE = {
  PEEKTEXT: 1,
  PEEKDATA: 2,
  PEEKUSER: 3,
  POKETEXT: 4,
  POKEDATA: 5,
  POKEUSER: 6,
  CONT: 7,
  KILL: 8,
  SINGLESTEP: 9,
  DETACH: 17,
  SYSCALL: 24,
  SETOPTIONS: 0x4200,
  GETEVENTMSG: 0x4201,
  GETSIGINFO: 0x4202,
  SETSIGINFO: 0x4203,
  GETREGSET: 0x4204,
  SETREGSET: 0x4205,
  SEIZE: 0x4206,
  INTERRUPT: 0x4207,
  LISTEN: 0x4208,
  PEEKSIGINFO: 0x4209,
  GETSIGMASK: 0x420a,
  SETSIGMASK: 0x420b,
  SECCOMP_GET_FILTER: 0x420c,
  SECCOMP_GET_METADATA: 0x420d,
  GET_SYSCALL_INFO: 0x420e,
  /** Since 5.13. */
  GET_RSEQ_CONFIGURATION: 0x420f,
  SET_SYSCALL_USER_DISPATCH_CONFIG: 0x4210,
  GET_SYSCALL_USER_DISPATCH_CONFIG: 0x4211,
} as const;

export const PTRACE_O = {
  TRACESYSGOOD: 1 << 0,
  TRACEFORK: 1 << 1,
  TRACEVFORK: 1 << 2,
  TRACECLONE: 1 << 3,
  TRACEEXEC: 1 << 4,
  TRACEVFORKDONE: 1 << 5,
  TRACEEXIT: 1 << 6,
  TRACESECCOMP: 1 << 7,
  EXITKILL: 1 << 20,
  /** Needs CAP_SYS_ADMIN in the initial namespace. */
  SUSPEND_SECCOMP: 1 << 21,
} as const;

/** The third byte of a wait status. */
export const PTRACE_EVENT = {
  FORK: 1,
  VFORK: 2,
  CLONE: 3,
  EXEC: 4,
  VFORK_DONE: 5,
  EXIT: 6,
  SECCOMP: 7,
  STOP: 128,
} as const;

/** For PEEKSIGINFO: the queue of the whole thread group. */
export const PTRACE_PEEKSIGINFO_SHARED = 1;

/** For GETREGSET: the general registers, on all architectures. Other sets are the architecture's (arch/). */
export const NT_PRSTATUS = 1;

/** Options and results of waiting. */
export const W = {
  NOHANG: 1,
  UNTRACED: 2,
  STOPPED: 2,
  EXITED: 4,
  CONTINUED: 8,
  NOWAIT: 0x01000000,
  NOTHREAD: 0x20000000,
  /** `__WALL`: children and clones alike. */
  ALL: 0x40000000,
  CLONE: 0x80000000,
} as const;
export const P = { ALL: 0, PID: 1, PGID: 2, PIDFD: 3 } as const;
