/** Registers of other architectures that CRIU knows: s390, MIPS, LoongArch and RISC-V. */

import { message, nested, optional, repeated, type TypeOf, uint32, uint64 } from '../message.ts';

/** General and access registers. */
export const userS390RegsEntry = message('user_s390_regs_entry', () => ({
  psw_mask: uint64(1),
  psw_addr: uint64(2),
  gprs: repeated(uint64(3)),
  acrs: repeated(uint32(4)),
  orig_gpr2: uint64(5),
  system_call: uint32(6),
}));
export type UserS390RegsEntry = TypeOf<typeof userS390RegsEntry>;

/** Vector registers 0 to 15: the halves that are not floating point registers. */
export const userS390VxrsLowEntry = message('user_s390_vxrs_low_entry', () => ({
  regs: repeated(uint64(1)),
}));
export type UserS390VxrsLowEntry = TypeOf<typeof userS390VxrsLowEntry>;

/** Vector registers 16 to 31, each as high half then low half. */
export const userS390VxrsHighEntry = message('user_s390_vxrs_high_entry', () => ({
  regs: repeated(uint64(1)),
}));
export type UserS390VxrsHighEntry = TypeOf<typeof userS390VxrsHighEntry>;

/** Floating point registers. */
export const userS390FpregsEntry = message('user_s390_fpregs_entry', () => ({
  fpc: uint32(1),
  fprs: repeated(uint64(2)),
}));
export type UserS390FpregsEntry = TypeOf<typeof userS390FpregsEntry>;

/** A guarded-storage control block. */
export const userS390GsCbEntry = message('user_s390_gs_cb_entry', () => ({
  regs: repeated(uint64(1)),
}));
export type UserS390GsCbEntry = TypeOf<typeof userS390GsCbEntry>;

/** The runtime-instrumentation control block. */
export const userS390RiEntry = message('user_s390_ri_entry', () => ({
  ri_on: uint32(1),
  regs: repeated(uint64(2)),
}));
export type UserS390RiEntry = TypeOf<typeof userS390RiEntry>;

/** All registers of a thread on s390. */
export const threadInfoS390 = message('thread_info_s390', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  gpregs: nested(2, userS390RegsEntry, 'hex'),
  fpregs: nested(3, userS390FpregsEntry, 'hex'),
  vxrs_low: optional(nested(4, userS390VxrsLowEntry, 'hex')),
  vxrs_high: optional(nested(5, userS390VxrsHighEntry, 'hex')),
  gs_cb: optional(nested(6, userS390GsCbEntry, 'hex')),
  gs_bc: optional(nested(7, userS390GsCbEntry, 'hex')),
  ri_cb: optional(nested(8, userS390RiEntry, 'hex')),
}));
export type ThreadInfoS390 = TypeOf<typeof threadInfoS390>;

/** General registers. */
export const userMipsRegsEntry = message('user_mips_regs_entry', () => ({
  r0: uint64(1),
  r1: uint64(2),
  r2: uint64(3),
  r3: uint64(4),
  r4: uint64(5),
  r5: uint64(6),
  r6: uint64(7),
  r7: uint64(8),
  r8: uint64(9),
  r9: uint64(10),
  r10: uint64(11),
  r11: uint64(12),
  r12: uint64(13),
  r13: uint64(14),
  r14: uint64(15),
  r15: uint64(16),
  r16: uint64(17),
  r17: uint64(18),
  r18: uint64(19),
  r19: uint64(20),
  r20: uint64(21),
  r21: uint64(22),
  r22: uint64(23),
  r23: uint64(24),
  r24: uint64(25),
  r25: uint64(26),
  r26: uint64(27),
  r27: uint64(28),
  r28: uint64(29),
  r29: uint64(30),
  r30: uint64(31),
  r31: uint64(32),
  lo: uint64(33),
  hi: uint64(34),
  cp0_epc: uint64(35),
  cp0_badvaddr: uint64(36),
  cp0_status: uint64(37),
  cp0_cause: uint64(38),
}));
export type UserMipsRegsEntry = TypeOf<typeof userMipsRegsEntry>;

/** Floating point registers. */
export const userMipsFpregsEntry = message('user_mips_fpregs_entry', () => ({
  r0: uint64(1),
  r1: uint64(2),
  r2: uint64(3),
  r3: uint64(4),
  r4: uint64(5),
  r5: uint64(6),
  r6: uint64(7),
  r7: uint64(8),
  r8: uint64(9),
  r9: uint64(10),
  r10: uint64(11),
  r11: uint64(12),
  r12: uint64(13),
  r13: uint64(14),
  r14: uint64(15),
  r15: uint64(16),
  r16: uint64(17),
  r17: uint64(18),
  r18: uint64(19),
  r19: uint64(20),
  r20: uint64(21),
  r21: uint64(22),
  r22: uint64(23),
  r23: uint64(24),
  r24: uint64(25),
  r25: uint64(26),
  r26: uint64(27),
  r27: uint64(28),
  r28: uint64(29),
  r29: uint64(30),
  r30: uint64(31),
  r31: uint64(32),
  lo: uint64(33),
  hi: uint64(34),
  fpu_fcr31: uint32(35),
  fpu_id: uint32(36),
}));
export type UserMipsFpregsEntry = TypeOf<typeof userMipsFpregsEntry>;

/** All registers of a thread on MIPS. */
export const threadInfoMips = message('thread_info_mips', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  tls: uint64(2),
  gpregs: nested(3, userMipsRegsEntry, 'hex'),
  fpregs: nested(4, userMipsFpregsEntry, 'hex'),
}));
export type ThreadInfoMips = TypeOf<typeof threadInfoMips>;

/** General registers. */
export const userLoongarch64GpregsEntry = message('user_loongarch64_gpregs_entry', () => ({
  regs: repeated(uint64(1)),
  pc: uint64(2),
}));
export type UserLoongarch64GpregsEntry = TypeOf<typeof userLoongarch64GpregsEntry>;

/** Floating point registers. */
export const userLoongarch64FpregsEntry = message('user_loongarch64_fpregs_entry', () => ({
  regs: repeated(uint64(1)),
  fcc: uint64(2),
  fcsr: uint32(3),
}));
export type UserLoongarch64FpregsEntry = TypeOf<typeof userLoongarch64FpregsEntry>;

/** All registers of a thread on LoongArch. */
export const threadInfoLoongarch64 = message('thread_info_loongarch64', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  tls: uint64(2),
  gpregs: nested(3, userLoongarch64GpregsEntry, 'hex'),
  fpregs: nested(4, userLoongarch64FpregsEntry, 'hex'),
}));
export type ThreadInfoLoongarch64 = TypeOf<typeof threadInfoLoongarch64>;

/** General registers. */
export const userRiscv64RegsEntry = message('user_riscv64_regs_entry', () => ({
  pc: uint64(1),
  ra: uint64(2),
  sp: uint64(3),
  gp: uint64(4),
  tp: uint64(5),
  t0: uint64(6),
  t1: uint64(7),
  t2: uint64(8),
  s0: uint64(9),
  s1: uint64(10),
  a0: uint64(11),
  a1: uint64(12),
  a2: uint64(13),
  a3: uint64(14),
  a4: uint64(15),
  a5: uint64(16),
  a6: uint64(17),
  a7: uint64(18),
  s2: uint64(19),
  s3: uint64(20),
  s4: uint64(21),
  s5: uint64(22),
  s6: uint64(23),
  s7: uint64(24),
  s8: uint64(25),
  s9: uint64(26),
  s10: uint64(27),
  s11: uint64(28),
  t3: uint64(29),
  t4: uint64(30),
  t5: uint64(31),
  t6: uint64(32),
}));
export type UserRiscv64RegsEntry = TypeOf<typeof userRiscv64RegsEntry>;

/** Floating point registers. */
export const userRiscv64DExtEntry = message('user_riscv64_d_ext_entry', () => ({
  f: repeated(uint64(1)),
  fcsr: uint32(2),
}));
export type UserRiscv64DExtEntry = TypeOf<typeof userRiscv64DExtEntry>;

/** All registers of a thread on RISC-V. */
export const threadInfoRiscv64 = message('thread_info_riscv64', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  tls: uint64(2),
  gpregs: nested(3, userRiscv64RegsEntry, 'hex'),
  fpsimd: nested(4, userRiscv64DExtEntry),
}));
export type ThreadInfoRiscv64 = TypeOf<typeof threadInfoRiscv64>;
