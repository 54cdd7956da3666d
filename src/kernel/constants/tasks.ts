/**
 * Tasks: clone, scheduling, clocks, limits, capabilities (include/uapi/linux/sched.h, ioprio.h, capability.h,
 * resource.h, auxvec.h).
 */

/** Those above 32 bits are for clone3 only; all are given as bigint, as its flags are 64 bits wide. */
export const CLONE = {
  NEWTIME: 0x80n,
  VM: 0x100n,
  FS: 0x200n,
  FILES: 0x400n,
  SIGHAND: 0x800n,
  PIDFD: 0x1000n,
  PTRACE: 0x2000n,
  VFORK: 0x4000n,
  PARENT: 0x8000n,
  THREAD: 0x10000n,
  NEWNS: 0x20000n,
  SYSVSEM: 0x40000n,
  SETTLS: 0x80000n,
  PARENT_SETTID: 0x100000n,
  CHILD_CLEARTID: 0x200000n,
  DETACHED: 0x400000n,
  UNTRACED: 0x800000n,
  CHILD_SETTID: 0x1000000n,
  NEWCGROUP: 0x2000000n,
  NEWUTS: 0x4000000n,
  NEWIPC: 0x8000000n,
  NEWUSER: 0x10000000n,
  NEWPID: 0x20000000n,
  NEWNET: 0x40000000n,
  IO: 0x80000000n,
  CLEAR_SIGHAND: 0x100000000n,
  INTO_CGROUP: 0x200000000n,
} as const;

/** Sizes of `struct clone_args` as far as fields are given: up to tls, up to set_tid_size, and with cgroup. */
export const CLONE_ARGS_SIZE = { VER0: 64, VER1: 80, VER2: 88 } as const;

export const SCHED = {
  NORMAL: 0,
  FIFO: 1,
  RR: 2,
  BATCH: 3,
  IDLE: 5,
  DEADLINE: 6,
  /** Since 6.12. */
  EXT: 7,
  /** Ored to the policy by sched_getscheduler and sched_setscheduler. */
  RESET_ON_FORK: 0x40000000,
} as const;

/** `sched_flags` of sched_attr. */
export const SCHED_FLAG = {
  RESET_ON_FORK: 0x01,
  RECLAIM: 0x02,
  DL_OVERRUN: 0x04,
  KEEP_POLICY: 0x08,
  KEEP_PARAMS: 0x10,
  UTIL_CLAMP_MIN: 0x20,
  UTIL_CLAMP_MAX: 0x40,
} as const;

export const IOPRIO = {
  CLASS_SHIFT: 13,
  CLASS_NONE: 0,
  CLASS_RT: 1,
  CLASS_BE: 2,
  CLASS_IDLE: 3,
  WHO_PROCESS: 1,
  WHO_PGRP: 2,
  WHO_USER: 3,
} as const;

export const PRIO = { PROCESS: 0, PGRP: 1, USER: 2 } as const;

/** Operations of futex(2) that wait (uapi/linux/futex.h). */
export const FUTEX = { WAIT: 0, WAIT_BITSET: 9 } as const;

/** The operation alone: without FUTEX_PRIVATE_FLAG (128) and FUTEX_CLOCK_REALTIME (256). */
export const FUTEX_CMD_MASK = 0x7f;

export const CLOCK = {
  REALTIME: 0,
  MONOTONIC: 1,
  PROCESS_CPUTIME_ID: 2,
  THREAD_CPUTIME_ID: 3,
  MONOTONIC_RAW: 4,
  REALTIME_COARSE: 5,
  MONOTONIC_COARSE: 6,
  BOOTTIME: 7,
  REALTIME_ALARM: 8,
  BOOTTIME_ALARM: 9,
  TAI: 11,
} as const;

export const ITIMER = { REAL: 0, VIRTUAL: 1, PROF: 2 } as const;
/** Flag of timer_settime and clock_nanosleep. */
export const TIMER_ABSTIME = 1;

/** A resource limit that is none. */
export const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

/** Those of the resource limits that are used by number. */
export const RLIMIT = { DATA: 2, CORE: 4, NOFILE: 7, MEMLOCK: 8, AS: 9, MSGQUEUE: 12 } as const;
/** Names of the resource limits, indexed by number (mips, sparc and alpha order 5 to 9 otherwise). */
export const RLIMIT_NAMES = [
  'CPU',
  'FSIZE',
  'DATA',
  'STACK',
  'CORE',
  'RSS',
  'NPROC',
  'NOFILE',
  'MEMLOCK',
  'AS',
  'LOCKS',
  'SIGPENDING',
  'MSGQUEUE',
  'NICE',
  'RTPRIO',
  'RTTIME',
] as const;

/** Names of the capabilities, indexed by number. */
export const CAP_NAMES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
] as const;

export type CapName = (typeof CAP_NAMES)[number];

/** The bit of a capability in 64-bit sets. */
export function capBit(name: CapName): bigint {
  return 1n << BigInt(CAP_NAMES.indexOf(name));
}

/** `_LINUX_CAPABILITY_VERSION_3`, for capget and capset. */
export const CAPABILITY_VERSION_3 = 0x20080522;

/** Types of the auxiliary vector (`AT_*` in the C headers). */
export const AUX = {
  NULL: 0,
  PHDR: 3,
  PHENT: 4,
  PHNUM: 5,
  PAGESZ: 6,
  BASE: 7,
  FLAGS: 8,
  ENTRY: 9,
  UID: 11,
  EUID: 12,
  GID: 13,
  EGID: 14,
  PLATFORM: 15,
  HWCAP: 16,
  CLKTCK: 17,
  SECURE: 23,
  BASE_PLATFORM: 24,
  RANDOM: 25,
  HWCAP2: 26,
  RSEQ_FEATURE_SIZE: 27,
  RSEQ_ALIGN: 28,
  HWCAP3: 29,
  HWCAP4: 30,
  EXECFN: 31,
  SYSINFO: 32,
  SYSINFO_EHDR: 33,
  MINSIGSTKSZ: 51,
} as const;

/** Flags of rseq registration. */
export const RSEQ_FLAG_UNREGISTER = 1;
export const RSEQ_CS_FLAG = { NO_RESTART_ON_PREEMPT: 1, NO_RESTART_ON_SIGNAL: 2, NO_RESTART_ON_MIGRATE: 4 } as const;

/** Operations of keyctl(2), and keyrings by what they are the calling thread's. */
export const KEYCTL = { GET_KEYRING_ID: 0 } as const;
export const KEY_SPEC = { THREAD: -1, PROCESS: -2, SESSION: -3, USER: -4, USER_SESSION: -5 } as const;

/** `PF_*` bits in the flags field of `/proc/PID/stat`. */
export const PF = {
  EXITING: 0x00000004,
  /** A thread of the kernel in a process; older kernels have IO_WORKER, newer ones both. */
  IO_WORKER: 0x00000010,
  FORKNOEXEC: 0x00000040,
  SUPERPRIV: 0x00000100,
  DUMPCORE: 0x00000200,
  SIGNALED: 0x00000400,
  USER_WORKER: 0x00004000,
  MEMALLOC_NOIO: 0x00080000,
  LOCAL_THROTTLE: 0x00100000,
  KTHREAD: 0x00200000,
} as const;

/** Flag of landlock_create_ruleset(2): it answers the version of the interface. */
export const LANDLOCK_CREATE_RULESET_VERSION = 1;
