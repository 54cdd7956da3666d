/**
 * ptrace (include/uapi/linux/ptrace.h, elf.h). Requests below 0x4200 differ between architectures; the ones here do
 * not, but for those marked.
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
  /** x86 and ppc64; arm64 has only GETREGSET. */
  GETREGS: 12,
  SETREGS: 13,
  DETACH: 17,
  SYSCALL: 24,
  /** x86. */
  ARCH_PRCTL: 30,
  /** x86 (31) and arm64; ppc64: 0x1d. */
  SYSEMU: 31,
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

/** Register sets for GETREGSET. */
export const NT = {
  PRSTATUS: 1,
  PRFPREG: 2,
  PPC_VMX: 0x100,
  PPC_VSX: 0x102,
  X86_XSTATE: 0x202,
  /** Since 6.6. */
  X86_SHSTK: 0x204,
  ARM_TLS: 0x401,
  ARM_SYSTEM_CALL: 0x404,
  ARM_SVE: 0x405,
  ARM_PAC_MASK: 0x406,
} as const;

/** `arch_prctl` codes of x86-64. */
export const ARCH = {
  SET_GS: 0x1001,
  SET_FS: 0x1002,
  GET_FS: 0x1003,
  GET_GS: 0x1004,
  MAP_VDSO_X32: 0x2001,
  MAP_VDSO_32: 0x2002,
  /** Needs CONFIG_CHECKPOINT_RESTORE. */
  MAP_VDSO_64: 0x2003,
  SHSTK_ENABLE: 0x5001,
  SHSTK_DISABLE: 0x5002,
  SHSTK_LOCK: 0x5003,
  SHSTK_UNLOCK: 0x5004,
  SHSTK_STATUS: 0x5005,
} as const;

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
