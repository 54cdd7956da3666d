/** ptrace (include/uapi/linux/ptrace.h, arch/x86/include/uapi/asm/ptrace.h). */

import { i32, struct, u32, u64, type ValueOf } from './struct.ts';

/** `struct ptrace_peeksiginfo_args`. */
export const PeeksiginfoArgs = struct({ offset: u64, flags: u32, count: i32 });

/** `struct ptrace_rseq_configuration`; `pointer` is 0n when rseq is not registered. */
export const RseqConfiguration = struct({ pointer: u64, size: u32, signature: u32, flags: u32, pad: u32 });
export type RseqConfiguration = ValueOf<typeof RseqConfiguration>;

/** `struct seccomp_metadata`. */
export const SeccompMetadata = struct({ filterOffset: u64, flags: u64 });

/** Names of x86-64's `user_regs_struct` in order: 27 words of 64 bits, what NT_PRSTATUS and PTRACE_GETREGS give. */
export const X86_64_REGS = [
  'r15',
  'r14',
  'r13',
  'r12',
  'bp',
  'bx',
  'r11',
  'r10',
  'r9',
  'r8',
  'ax',
  'cx',
  'dx',
  'si',
  'di',
  'orig_ax',
  'ip',
  'cs',
  'flags',
  'sp',
  'ss',
  'fs_base',
  'gs_base',
  'ds',
  'es',
  'fs',
  'gs',
] as const;

export type X86Reg = (typeof X86_64_REGS)[number];
export type X86Regs = Record<X86Reg, bigint>;

/** Bytes of `user_regs_struct`. */
export const X86_64_REGS_SIZE = X86_64_REGS.length * 8;

/** Decodes `user_regs_struct`; field names are those of CRIU's images. Throws RangeError when the bytes are too few. */
export function decodeX86Regs(from: Uint8Array): X86Regs {
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
  const out: Partial<X86Regs> = {};
  X86_64_REGS.forEach((name, i) => {
    out[name] = view.getBigUint64(i * 8, true);
  });
  return out as X86Regs; // all names were filled in
}

/** Encodes `user_regs_struct`. */
export function encodeX86Regs(regs: X86Regs): Uint8Array {
  const out = new Uint8Array(X86_64_REGS_SIZE);
  const view = new DataView(out.buffer);
  X86_64_REGS.forEach((name, i) => {
    view.setBigUint64(i * 8, regs[name], true);
  });
  return out;
}
