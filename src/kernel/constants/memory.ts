/**
 * Memory constants (include/uapi/asm-generic/mman-common.h, mman.h, linux/fs.h, userfaultfd.h, mempolicy.h,
 * aio_abi.h). What differs between architectures comes from arch/.
 */
import { MCL, MAP as OWN_MAP } from '../../arch/numbers.ts';
import { io, ior, iowr } from './ioctl.ts';

export { MCL };

export const PROT = { NONE: 0, READ: 1, WRITE: 2, EXEC: 4, GROWSDOWN: 0x01000000, GROWSUP: 0x02000000 } as const;

export const MAP = {
  ...OWN_MAP,
  SHARED: 0x01,
  PRIVATE: 0x02,
  SHARED_VALIDATE: 0x03,
  /** Since 6.11; takes the place of PRIVATE. */
  DROPPABLE: 0x08,
  TYPE: 0x0f,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  GROWSDOWN: 0x0100,
  DENYWRITE: 0x0800,
  EXECUTABLE: 0x1000,
  POPULATE: 0x8000,
  NONBLOCK: 0x10000,
  STACK: 0x20000,
  HUGETLB: 0x40000,
  SYNC: 0x80000,
  FIXED_NOREPLACE: 0x100000,
  /** log2 of the huge page size goes to the bits from here on. */
  HUGE_SHIFT: 26,
} as const;

export const MREMAP = { MAYMOVE: 1, FIXED: 2, DONTUNMAP: 4 } as const;
export const MLOCK_ONFAULT = 1;
export const MS = { ASYNC: 1, INVALIDATE: 2, SYNC: 4 } as const;

export const MADV = {
  NORMAL: 0,
  RANDOM: 1,
  SEQUENTIAL: 2,
  WILLNEED: 3,
  DONTNEED: 4,
  FREE: 8,
  REMOVE: 9,
  DONTFORK: 10,
  DOFORK: 11,
  MERGEABLE: 12,
  UNMERGEABLE: 13,
  HUGEPAGE: 14,
  NOHUGEPAGE: 15,
  DONTDUMP: 16,
  DODUMP: 17,
  WIPEONFORK: 18,
  KEEPONFORK: 19,
  COLD: 20,
  PAGEOUT: 21,
  POPULATE_READ: 22,
  POPULATE_WRITE: 23,
  DONTNEED_LOCKED: 24,
  COLLAPSE: 25,
  /** Since 6.13. */
  GUARD_INSTALL: 102,
  GUARD_REMOVE: 103,
} as const;

/** Categories of the PAGEMAP_SCAN ioctl (since 6.7). */
export const PAGE_IS = {
  WPALLOWED: 0x001,
  WRITTEN: 0x002,
  FILE: 0x004,
  PRESENT: 0x008,
  SWAPPED: 0x010,
  PFNZERO: 0x020,
  HUGE: 0x040,
  SOFT_DIRTY: 0x080,
  /** Since 6.15. */
  GUARD: 0x100,
} as const;

export const PM_SCAN = { WP_MATCHING: 1, CHECK_WPASYNC: 2 } as const;

/** With a `struct pm_scan_arg`. */
export const PAGEMAP_SCAN = iowr('f', 16, 96);

/** With a `struct procmap_query`, on a descriptor of `/proc/PID/maps`; since 6.11. */
export const PROCMAP_QUERY = iowr('f', 17, 104);

/** Bits of the 64-bit entries of `/proc/PID/pagemap`. */
export const PAGEMAP = {
  SOFT_DIRTY: 1n << 55n,
  EXCLUSIVE: 1n << 56n,
  UFFD_WP: 1n << 57n,
  GUARD: 1n << 58n,
  FILE: 1n << 61n,
  SWAPPED: 1n << 62n,
  PRESENT: 1n << 63n,
  PFN_MASK: (1n << 55n) - 1n,
} as const;

export const MEMBARRIER = {
  QUERY: 0,
  GLOBAL: 1,
  GLOBAL_EXPEDITED: 2,
  REGISTER_GLOBAL_EXPEDITED: 4,
  PRIVATE_EXPEDITED: 8,
  REGISTER_PRIVATE_EXPEDITED: 16,
  PRIVATE_EXPEDITED_SYNC_CORE: 32,
  REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: 64,
  PRIVATE_EXPEDITED_RSEQ: 128,
  REGISTER_PRIVATE_EXPEDITED_RSEQ: 256,
  /** Since 6.3. */
  GET_REGISTRATIONS: 512,
} as const;

/** System V shared memory. */
export const SHM = {
  RDONLY: 0o10000,
  RND: 0o20000,
  REMAP: 0o40000,
  EXEC: 0o100000,
  HUGETLB: 0o4000,
  NORESERVE: 0o10000,
} as const;

/** userfaultfd(2): the version of its interface, the request that negotiates it, and features. */
export const UFFD_API = 0xaan;
export const UFFDIO_API = iowr(0xaa, 0x3f, 24);
export const UFFD_FEATURE = {
  EVENT_FORK: 1n << 1n,
  EVENT_REMAP: 1n << 2n,
  EVENT_REMOVE: 1n << 3n,
  EVENT_UNMAP: 1n << 6n,
  /** Since 6.7: the kernel itself lifts the protection of a page that is written to. */
  WP_ASYNC: 1n << 15n,
} as const;
/** A flag of userfaultfd(2), which takes no privilege (since 5.11). */
export const UFFD_USER_MODE_ONLY = 1;
/** With a `struct uffdio_register` and a `struct uffdio_range`. */
export const UFFDIO_REGISTER = iowr(0xaa, 0x00, 32);
export const UFFDIO_UNREGISTER = ior(0xaa, 0x01, 16);
export const UFFDIO_REGISTER_MODE_MISSING = 1n;
export const UFFDIO_REGISTER_MODE_WP = 2n;
/** With a `struct uffdio_range`: the threads that wait for pages there go on. */
export const UFFDIO_WAKE = ior(0xaa, 0x02, 16);
/** With a `struct uffdio_copy`. */
export const UFFDIO_COPY = iowr(0xaa, 0x03, 40);
/** With a `struct uffdio_zeropage`, and a `struct uffdio_poison` of the same form (since 6.6). */
export const UFFDIO_ZEROPAGE = iowr(0xaa, 0x04, 32);
export const UFFDIO_POISON = iowr(0xaa, 0x08, 32);
/** Of an open /dev/userfaultfd (since 6.1): makes a userfaultfd without asking for a capability. */
export const USERFAULTFD_IOC_NEW = io(0xaa, 0x00);
/** Types of a `struct uffd_msg`. */
export const UFFD_EVENT = { PAGEFAULT: 0x12, FORK: 0x13, REMAP: 0x14, REMOVE: 0x15, UNMAP: 0x16 } as const;
/** A flag of UFFD_EVENT_PAGEFAULT. */
export const UFFD_PAGEFAULT_FLAG_WRITE = 1n;

/** Modes of memory policies, and flags of modes. */
export const MPOL = {
  DEFAULT: 0,
  PREFERRED: 1,
  BIND: 2,
  INTERLEAVE: 3,
  LOCAL: 4,
  PREFERRED_MANY: 5,
  /** Since 6.9. */
  WEIGHTED_INTERLEAVE: 6,
} as const;
export const MPOL_F = { NUMA_BALANCING: 1 << 13, RELATIVE_NODES: 1 << 14, STATIC_NODES: 1 << 15 } as const;
/** Flag of mbind(2): existing pages are moved to the nodes of the policy. */
export const MPOL_MF_MOVE = 2;

/** The first word of a ring of asynchronous I/O, and the request that writes. */
export const AIO_RING_MAGIC = 0xa10a10a1;
export const IOCB_CMD = { PWRITE: 1 } as const;

/** Most pieces that one call takes (struct iovec), and most bytes that one call reads or writes. */
export const UIO_MAXIOV = 1024;
export const MAX_RW_COUNT = 0x7fff_f000;
