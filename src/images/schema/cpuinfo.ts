/** The abilities of the processor of the dump. */

import { enumerated, message, nested, optional, repeated, type TypeOf, text, uint32, uint64 } from '../message.ts';

/** Vendors of x86 processors. */
export const Vendor = {
  UNKNOWN: 0,
  INTEL: 1,
  AMD: 2,
} as const;

/** Byte orders of POWER. */
export const Endianness = {
  BIGENDIAN: 0,
  LITTLEENDIAN: 1,
} as const;

/** An x86 processor: CPUID words and the size of its extended state. */
export const cpuinfoX86Entry = message('cpuinfo_x86_entry', () => ({
  vendor_id: enumerated(1, Vendor),
  cpu_family: uint32(2),
  model: uint32(3),
  stepping: uint32(4),
  capability_ver: uint32(5),
  capability: repeated(uint32(6)),
  model_id: optional(text(7)),
  xfeatures_mask: optional(uint64(8)),
  xsave_size: optional(uint32(9)),
  xsave_size_max: optional(uint32(10)),
}));
export type CpuinfoX86Entry = TypeOf<typeof cpuinfoX86Entry>;

/** A POWER processor. */
export const cpuinfoPpc64Entry = message('cpuinfo_ppc64_entry', () => ({
  endian: enumerated(1, Endianness),
  hwcap: repeated(uint64(2)),
}));
export type CpuinfoPpc64Entry = TypeOf<typeof cpuinfoPpc64Entry>;

/** An s390 processor. */
export const cpuinfoS390Entry = message('cpuinfo_s390_entry', () => ({
  hwcap: repeated(uint64(2)),
}));
export type CpuinfoS390Entry = TypeOf<typeof cpuinfoS390Entry>;

/** `cpuinfo.img`. */
export const cpuinfoEntry = message('cpuinfo_entry', () => ({
  x86_entry: repeated(nested(1, cpuinfoX86Entry)),
  ppc64_entry: repeated(nested(2, cpuinfoPpc64Entry)),
  s390_entry: repeated(nested(3, cpuinfoS390Entry)),
}));
export type CpuinfoEntry = TypeOf<typeof cpuinfoEntry>;
