/** io_uring (include/uapi/linux/io_uring.h). */

/** Flags of io_uring_setup(2). */
export const IORING_SETUP = {
  IOPOLL: 1 << 0,
  SQPOLL: 1 << 1,
  SQ_AFF: 1 << 2,
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  ATTACH_WQ: 1 << 5,
  R_DISABLED: 1 << 6,
  SUBMIT_ALL: 1 << 7,
  COOP_TASKRUN: 1 << 8,
  TASKRUN_FLAG: 1 << 9,
  SQE128: 1 << 10,
  CQE32: 1 << 11,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
  NO_MMAP: 1 << 14,
  REGISTERED_FD_ONLY: 1 << 15,
  NO_SQARRAY: 1 << 16,
  HYBRID_IOPOLL: 1 << 17,
  CQE_MIXED: 1 << 18,
} as const;

/** Offsets at which the parts of a ring are mapped. */
export const IORING_OFF = { SQ_RING: 0, SQES: 0x10000000 } as const;

export const IORING_ENTER = { GETEVENTS: 1 << 0, SQ_WAKEUP: 1 << 1, EXT_ARG: 1 << 3 } as const;

/** Operations of io_uring_register(2). */
export const IORING_REGISTER = { BUFFERS: 0, FILES: 2, ENABLE_RINGS: 12 } as const;

/** Operations of requests. */
export const IORING_OP = { NOP: 0, MSG_RING: 40 } as const;

/** A request that succeeds leaves no completion. */
export const IOSQE_CQE_SKIP_SUCCESS = 1 << 6;

/** Most rings that a thread registers for itself. */
export const IO_RINGFD_REG_MAX = 16;
