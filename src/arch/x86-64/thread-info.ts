/**
 * General registers of x86-64 as CRIU's core image has them. Pure; the messages are plain structures here, declared in
 * images/schema/core-x86.ts.
 */
import type { Registers } from '../arch.ts';
import { AX, IP, NAMES, ORIG_AX, word } from './code.ts';
import type { FpRegisters } from './xsave.ts';

/** `user_x86_regs_entry`. */
export type GeneralRegisters = Record<(typeof NAMES)[number], bigint> & { mode?: number | undefined };

const EINTR = 4n;
/** `UserX86RegsMode`: 64-bit code. */
const NATIVE = 1;
/** Bytes of the instruction syscall. */
const SYSCALL_LENGTH = 2n;

/**
 * Registers as CRIU saves them. An interrupted call is set back to be made again with number `again`; one that cannot
 * be (`call` without `again`) fails with EINTR.
 */
export function toImage(
  registers: Registers,
  call: { readonly again: number | undefined } | undefined,
): GeneralRegisters {
  const words = registers.slice();
  if (call?.again !== undefined) {
    words[AX] = BigInt(call.again);
    words[IP] = word(words, IP) - SYSCALL_LENGTH;
  } else if (call) {
    words[AX] = BigInt.asUintN(64, -EINTR);
  }
  const named: Partial<GeneralRegisters> = { mode: NATIVE };
  NAMES.forEach((name, i) => {
    named[name] = word(words, i);
  });
  return named as GeneralRegisters; // all names were filled in
}

/**
 * The registers of an image. `call` is the interrupted system call, and what it has answered, if it was made again; the
 * kernel must not think that there is another one to be restarted.
 */
export function fromImage(
  { gpregs: saved }: { readonly gpregs: GeneralRegisters },
  call: { readonly nr: number; readonly result: number } | undefined,
): Registers {
  const words = BigUint64Array.from(NAMES, (name) => saved[name]);
  words[ORIG_AX] = BigInt.asUintN(64, BigInt(call?.nr ?? -1));
  if (call) words[AX] = BigInt.asUintN(64, BigInt(call.result));
  return words;
}

/** The three GDT entries of set_thread_area(), which 64-bit programs do not use; CRIU wants them all. */
const NO_TLS = [12, 13, 14].map((entry_number) => ({
  entry_number,
  base_addr: 0,
  limit: 0,
  seg_32bit: false,
  contents_h: false,
  contents_l: false,
  read_exec_only: true,
  limit_in_pages: false,
  seg_not_present: true,
  usable: false,
}));

/** `thread_info_x86`, without `clear_tid_addr`. */
export function threadInfo(gpregs: GeneralRegisters, fpregs: FpRegisters) {
  return { gpregs, fpregs, tls: NO_TLS };
}
