/** seccomp (include/uapi/linux/filter.h, seccomp.h). */
import { array, i32, struct, u8, u16, u32, u64 } from './struct.ts';

/** `struct sock_filter`: one instruction of classic BPF. */
export const SockFilter = struct({ code: u16, jt: u8, jf: u8, k: u32 });

/** `struct seccomp_data`, the input of a filter, which describes a system call. */
export const SeccompData = struct({ nr: i32, arch: u32, instructionPointer: u64, args: array(u64, 6) });
