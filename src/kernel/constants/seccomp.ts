/** seccomp (include/uapi/linux/seccomp.h), and the classic BPF of its filters (bpf_common.h, filter.h). */

export const SECCOMP_MODE = { DISABLED: 0, STRICT: 1, FILTER: 2 } as const;
/** Operations of seccomp(2). */
export const SECCOMP_SET_MODE = { STRICT: 0, FILTER: 1 } as const;
/** Of a filter being installed; of one that is, the kernel tells LOG alone. */
export const SECCOMP_FILTER_FLAG = {
  /** In all threads of the process at once. */
  TSYNC: 1 << 0,
  LOG: 1 << 1,
  SPEC_ALLOW: 1 << 2,
  NEW_LISTENER: 1 << 3,
  TSYNC_ESRCH: 1 << 4,
  WAIT_KILLABLE_RECV: 1 << 5,
} as const;

/** Results of filters. The lowest one, as a signed number, of all filters takes effect. */
export const SECCOMP_RET = {
  /** The bits of a result that say what happens; the others are data. */
  ACTION_FULL: 0xffff_0000,
  KILL_THREAD: 0x0000_0000,
  ERRNO: 0x0005_0000,
  USER_NOTIF: 0x7fc0_0000,
  /** Without a tracer the call fails with ENOSYS. */
  TRACE: 0x7ff0_0000,
  LOG: 0x7ffc_0000,
  ALLOW: 0x7fff_0000,
} as const;

/** The instruction that ends a filter with a constant: BPF_RET | BPF_K. */
export const BPF_RET_K = 0x06;
/** Most instructions of a filter. */
export const BPF_MAXINSNS = 4096;
