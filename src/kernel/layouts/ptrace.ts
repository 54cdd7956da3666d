/** ptrace (include/uapi/linux/ptrace.h); registers are in arch/. */

import { i32, struct, u32, u64, type ValueOf } from './struct.ts';

/** `struct ptrace_peeksiginfo_args`. */
export const PeeksiginfoArgs = struct({ offset: u64, flags: u32, count: i32 });

/** `struct ptrace_rseq_configuration`; `pointer` is 0n when rseq is not registered. */
export const RseqConfiguration = struct({ pointer: u64, size: u32, signature: u32, flags: u32, pad: u32 });
export type RseqConfiguration = ValueOf<typeof RseqConfiguration>;

/** `struct seccomp_metadata`. */
export const SeccompMetadata = struct({ filterOffset: u64, flags: u64 });
