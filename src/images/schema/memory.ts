/** Address spaces: their layout, their areas, which pages were stored. */

import { bool, int32, message, nested, optional, repeated, sint64, type TypeOf, uint32, uint64 } from '../message.ts';

/** A ring of asynchronous I/O. */
export const aioRingEntry = message('aio_ring_entry', () => ({
  id: uint64(1),
  nr_req: uint32(2),
  ring_len: uint32(3),
}));
export type AioRingEntry = TypeOf<typeof aioRingEntry>;

/** `mm-%u.img`: the layout of an address space and all its areas. */
export const mmEntry = message('mm_entry', () => ({
  mm_start_code: uint64(1, 'hex'),
  mm_end_code: uint64(2, 'hex'),
  mm_start_data: uint64(3, 'hex'),
  mm_end_data: uint64(4, 'hex'),
  mm_start_stack: uint64(5, 'hex'),
  mm_start_brk: uint64(6, 'hex'),
  mm_brk: uint64(7, 'hex'),
  mm_arg_start: uint64(8, 'hex'),
  mm_arg_end: uint64(9, 'hex'),
  mm_env_start: uint64(10, 'hex'),
  mm_env_end: uint64(11, 'hex'),
  exe_file_id: uint32(12),
  mm_saved_auxv: repeated(uint64(13)),
  vmas: repeated(nested(14, vmaEntry)),
  dumpable: optional(int32(15)),
  aios: repeated(nested(16, aioRingEntry)),
  thp_disabled: optional(bool(17)),
}));
export type MmEntry = TypeOf<typeof mmEntry>;

/** Bits of `vma_entry.status`. */
export const VmaStatus = {
  REGULAR: 1 << 0,
  STACK: 1 << 1,
  VSYSCALL: 1 << 2,
  VDSO: 1 << 3,
  HEAP: 1 << 5,
  FILE_PRIVATE: 1 << 6,
  FILE_SHARED: 1 << 7,
  ANON_SHARED: 1 << 8,
  ANON_PRIVATE: 1 << 9,
  SYSVIPC: 1 << 10,
  SOCKET: 1 << 11,
  VVAR: 1 << 12,
  AIORING: 1 << 13,
  MEMFD: 1 << 14,
  GUARD: 1 << 16,
} as const;

/** One area. `shmid` is the segment, or the open file, behind it; `fd` is always -1. */
export const vmaEntry = message('vma_entry', () => ({
  start: uint64(1, 'hex'),
  end: uint64(2, 'hex'),
  pgoff: uint64(3),
  shmid: uint64(4),
  prot: uint32(5, 'mmap.prot'),
  flags: uint32(6, 'mmap.flags'),
  status: uint32(7, 'mmap.status'),
  fd: sint64(8),
  madv: optional(uint64(9, 'hex')),
  fdflags: optional(uint32(10, 'hex')),
}));
export type VmaEntry = TypeOf<typeof vmaEntry>;

/** First entry of a pagemap: which pages file it is of. */
export const pagemapHead = message('pagemap_head', () => ({
  pages_id: uint32(1),
}));
export type PagemapHead = TypeOf<typeof pagemapHead>;

/** A run of pages; see pagemap.ts. `compat_nr_pages` is 0 since the count has 64 bits. */
export const pagemapEntry = message('pagemap_entry', () => ({
  vaddr: uint64(1, 'hex'),
  compat_nr_pages: uint32(2),
  in_parent: optional(bool(3)),
  flags: optional(uint32(4, 'pmap.flags')),
  nr_pages: optional(uint64(5)),
}));
export type PagemapEntry = TypeOf<typeof pagemapEntry>;
