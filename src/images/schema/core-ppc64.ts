/** Registers of 64-bit POWER. */

import { message, nested, optional, repeated, type TypeOf, uint32, uint64 } from '../message.ts';

/** General registers, r0 first; the last three belong to transactional memory. */
export const userPpc64RegsEntry = message('user_ppc64_regs_entry', () => ({
  gpr: repeated(uint64(1)),
  nip: uint64(2),
  msr: uint64(3),
  orig_gpr3: uint64(4),
  ctr: uint64(5),
  link: uint64(6),
  xer: uint64(7),
  ccr: uint64(8),
  trap: uint64(9),
  texasr: optional(uint64(10)),
  tfhar: optional(uint64(11)),
  tfiar: optional(uint64(12)),
}));
export type UserPpc64RegsEntry = TypeOf<typeof userPpc64RegsEntry>;

/** Floating point registers. */
export const userPpc64FpstateEntry = message('user_ppc64_fpstate_entry', () => ({
  fpregs: repeated(uint64(1)),
}));
export type UserPpc64FpstateEntry = TypeOf<typeof userPpc64FpstateEntry>;

/** Altivec registers, each as high half then low half, VSCR last. */
export const userPpc64VrstateEntry = message('user_ppc64_vrstate_entry', () => ({
  vrregs: repeated(uint64(1)),
  vrsave: uint32(2),
}));
export type UserPpc64VrstateEntry = TypeOf<typeof userPpc64VrstateEntry>;

/** The halves of the first 32 VSX registers that are not floating point registers. */
export const userPpc64VsxstateEntry = message('user_ppc64_vsxstate_entry', () => ({
  vsxregs: repeated(uint64(1)),
}));
export type UserPpc64VsxstateEntry = TypeOf<typeof userPpc64VsxstateEntry>;

/** The checkpointed registers of a transaction. */
export const userPpc64TmRegsEntry = message('user_ppc64_tm_regs_entry', () => ({
  gpregs: nested(1, userPpc64RegsEntry),
  fpstate: optional(nested(2, userPpc64FpstateEntry)),
  vrstate: optional(nested(3, userPpc64VrstateEntry)),
  vsxstate: optional(nested(4, userPpc64VsxstateEntry)),
}));
export type UserPpc64TmRegsEntry = TypeOf<typeof userPpc64TmRegsEntry>;

/** All registers of a thread on 64-bit POWER. */
export const threadInfoPpc64 = message('thread_info_ppc64', () => ({
  clear_tid_addr: uint64(1, 'hex'),
  gpregs: nested(2, userPpc64RegsEntry, 'hex'),
  fpstate: optional(nested(3, userPpc64FpstateEntry)),
  vrstate: optional(nested(4, userPpc64VrstateEntry)),
  vsxstate: optional(nested(5, userPpc64VsxstateEntry)),
  tmstate: optional(nested(6, userPpc64TmRegsEntry)),
}));
export type ThreadInfoPpc64 = TypeOf<typeof threadInfoPpc64>;
