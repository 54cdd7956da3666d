/** Memory (include/uapi/linux/fs.h, uio.h, fiemap.h). */

import { array, bytes, i64, struct, u8, u32, u64, type ValueOf } from './struct.ts';

/** `struct iovec`. */
export const Iovec = struct({ base: u64, length: u64 });

/** `struct pm_scan_arg`, of the PAGEMAP_SCAN ioctl; `size` is to be 96. */
export const PmScanArg = struct({
  size: u64,
  flags: u64,
  start: u64,
  end: u64,
  /** Written by the kernel: how far it came. */
  walkEnd: u64,
  /** Address and number of {@link PageRegion}s. */
  vec: u64,
  vecLength: u64,
  /** Most pages to find; 0 for any number. */
  maxPages: u64,
  categoryInverted: u64,
  categoryMask: u64,
  categoryAnyofMask: u64,
  returnMask: u64,
});
export type PmScanArg = ValueOf<typeof PmScanArg>;

/** `struct page_region`: a run of pages with the same categories (`PAGE_IS`). */
export const PageRegion = struct({ start: u64, end: u64, categories: u64 });

/** `struct procmap_query`, of the PROCMAP_QUERY ioctl (since 6.11); `size` is to be 104. */
export const ProcmapQuery = struct({
  size: u64,
  queryFlags: u64,
  queryAddress: u64,
  vmaStart: u64,
  vmaEnd: u64,
  vmaFlags: u64,
  vmaPageSize: u64,
  vmaOffset: u64,
  inode: u64,
  devMajor: u32,
  devMinor: u32,
  vmaNameSize: u32,
  buildIdSize: u32,
  vmaNameAddress: u64,
  buildIdAddress: u64,
});

/** `struct fiemap` without its extents, which follow it. */
export const Fiemap = struct({
  start: u64,
  length: u64,
  flags: u32,
  mappedExtents: u32,
  extentCount: u32,
  reserved: u32,
});

/** `struct fiemap_extent`. */
export const FiemapExtent = struct({
  logical: u64,
  physical: u64,
  length: u64,
  reserved64: array(u64, 2),
  flags: u32,
  reserved: array(u32, 3),
});

/** `struct uffdio_api`, of UFFDIO_API. */
export const UffdioApi = struct({ api: u64, features: u64, ioctls: u64 });

/** `struct uffdio_register`, of UFFDIO_REGISTER; without its last word a `struct uffdio_range` and the mode. */
export const UffdioRegister = struct({ start: u64, length: u64, mode: u64, ioctls: u64 });

/** `struct uffdio_copy`, of UFFDIO_COPY; the kernel writes how many bytes it has copied, or -errno. */
export const UffdioCopy = struct({ to: u64, from: u64, length: u64, mode: u64, copied: i64 });

/** `struct uffdio_zeropage`, of UFFDIO_ZEROPAGE, and `struct uffdio_poison`. `done`: bytes, or -errno. */
export const UffdioZeropage = struct({ start: u64, length: u64, mode: u64, done: i64 });

/**
 * `struct uffd_msg`. The words are: of a page fault its flags and the address; of a fork the new descriptor; of a remap
 * the old and the new address and the length; of a removal the start and the end.
 */
export const UffdMsg = struct({ event: u8, reserved: bytes(7), words: array(u64, 3) });
