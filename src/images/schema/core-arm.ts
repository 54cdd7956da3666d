/** Registers of 32-bit and 64-bit ARM. */

import { message, nested, optional, repeated, type TypeOf, uint32, uint64 } from '../message.ts';

/** General registers. */
export const userArmRegsEntry = message('user_arm_regs_entry', () => ({
  r0: uint32(1),
  r1: uint32(2),
  r2: uint32(3),
  r3: uint32(4),
  r4: uint32(5),
  r5: uint32(6),
  r6: uint32(7),
  r7: uint32(8),
  r8: uint32(9),
  r9: uint32(10),
  r10: uint32(11),
  fp: uint32(12),
  ip: uint32(13),
  sp: uint32(14),
  lr: uint32(15),
  pc: uint32(16),
  cpsr: uint32(17),
  orig_r0: uint32(18),
}));
export type UserArmRegsEntry = TypeOf<typeof userArmRegsEntry>;

/** Floating point registers. */
export const userArmVfpstateEntry = message('user_arm_vfpstate_entry', () => ({
  vfp_regs: repeated(uint64(1)),
  fpscr: uint32(2),
  fpexc: uint32(3),
  fpinst: uint32(4),
  fpinst2: uint32(5),
}));
export type UserArmVfpstateEntry = TypeOf<typeof userArmVfpstateEntry>;

/** All registers of a thread on 32-bit ARM. */
export const threadInfoArm = message('thread_info_arm', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  tls: uint32(2),
  gpregs: nested(3, userArmRegsEntry, 'hex'),
  fpstate: nested(4, userArmVfpstateEntry),
}));
export type ThreadInfoArm = TypeOf<typeof threadInfoArm>;

/** General registers x0 to x30, and the rest of the user's state. */
export const userAarch64RegsEntry = message('user_aarch64_regs_entry', () => ({
  regs: repeated(uint64(1)),
  sp: uint64(2),
  pc: uint64(3),
  pstate: uint64(4),
}));
export type UserAarch64RegsEntry = TypeOf<typeof userAarch64RegsEntry>;

/** SIMD registers: two words for each of v0 to v31. */
export const userAarch64FpsimdContextEntry = message('user_aarch64_fpsimd_context_entry', () => ({
  vregs: repeated(uint64(1)),
  fpsr: uint32(2),
  fpcr: uint32(3),
}));
export type UserAarch64FpsimdContextEntry = TypeOf<typeof userAarch64FpsimdContextEntry>;

/** Pointer authentication: the keys for addresses. */
export const pacAddressKeys = message('pac_address_keys', () => ({
  apiakey_lo: uint64(1),
  apiakey_hi: uint64(2),
  apibkey_lo: uint64(3),
  apibkey_hi: uint64(4),
  apdakey_lo: uint64(5),
  apdakey_hi: uint64(6),
  apdbkey_lo: uint64(7),
  apdbkey_hi: uint64(8),
  pac_enabled_key: uint64(9),
}));
export type PacAddressKeys = TypeOf<typeof pacAddressKeys>;

/** Pointer authentication: the key for data. */
export const pacGenericKeys = message('pac_generic_keys', () => ({
  apgakey_lo: uint64(1),
  apgakey_hi: uint64(2),
}));
export type PacGenericKeys = TypeOf<typeof pacGenericKeys>;

/** Pointer authentication keys of a thread. */
export const pacKeys = message('pac_keys', () => ({
  pac_address_keys: optional(nested(6, pacAddressKeys)),
  pac_generic_keys: optional(nested(7, pacGenericKeys)),
}));
export type PacKeys = TypeOf<typeof pacKeys>;

/** All registers of a thread on 64-bit ARM. */
export const threadInfoAarch64 = message('thread_info_aarch64', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  tls: uint64(2),
  gpregs: nested(3, userAarch64RegsEntry, 'hex'),
  fpsimd: nested(4, userAarch64FpsimdContextEntry),
  pac_keys: optional(nested(5, pacKeys)),
}));
export type ThreadInfoAarch64 = TypeOf<typeof threadInfoAarch64>;
