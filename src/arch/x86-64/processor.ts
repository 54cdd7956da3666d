/** Numbers of the kernel's interface that only x86-64 has (arch/x86/include/uapi/asm/prctl.h, linux/elf.h). */

/** Codes of arch_prctl(2). */
export const ARCH = {
  GET_CPUID: 0x1011,
  GET_XCOMP_PERM: 0x1022,
  REQ_XCOMP_PERM: 0x1023,
  MAP_VDSO_32: 0x2002,
} as const;

/** The register set of the extended state, for PTRACE_GETREGSET. */
export const NT_X86_XSTATE = 0x202;

/** Offset of the debug registers in `struct user`, for PTRACE_POKEUSER. */
export const DEBUG_REGISTERS = 848;
