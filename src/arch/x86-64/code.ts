/** x86-64: the registers, and the encodings of the instructions that the machine code uses. */

import type { Registers } from '../arch.ts';
import type { CodeWriter } from '../assemble.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';

/** struct user_regs_struct, word by word; the names are those of the core image. */
export const NAMES = [
  ...['r15', 'r14', 'r13', 'r12', 'bp', 'bx', 'r11', 'r10', 'r9', 'r8', 'ax', 'cx', 'dx', 'si', 'di', 'orig_ax'],
  ...['ip', 'cs', 'flags', 'sp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs'],
] as const;

export const R15 = 0;
export const R14 = 1;
export const BX = 5;
export const R11 = 6;
export const R10 = 7;
export const R9 = 8;
export const R8 = 9;
export const AX = 10;
export const CX = 11;
export const DX = 12;
export const SI = 13;
export const DI = 14;
export const ORIG_AX = 15;
export const IP = 16;
export const FLAGS = 18;
export const SP = 19;
export const ARGUMENTS = [DI, SI, DX, R10, R8, R9] as const;
export const NO_SYSCALL = 0xffff_ffff_ffff_ffffn;

/** Results that tell the kernel's signal code to restart a call (include/linux/errno.h). */
const EINTR = 4;
const ERESTARTSYS = 512;
const ERESTARTNOHAND = 514;
const ERESTART_RESTARTBLOCK = 516;

export const word = (registers: Registers, index: number): bigint => registers[index] ?? 0n;

export function interrupted(registers: Registers): { nr: number; args: bigint[]; result: number } | undefined {
  const nr = Number(BigInt.asIntN(64, word(registers, ORIG_AX)));
  const result = -Number(BigInt.asIntN(32, word(registers, AX)));
  const restartable = (result >= ERESTARTSYS && result <= ERESTARTNOHAND) || result === ERESTART_RESTARTBLOCK;
  if (nr < 0 || !restartable) return undefined;
  return { nr, args: ARGUMENTS.map((r) => word(registers, r)), result };
}

export function cutShort(registers: Registers): { nr: number; args: bigint[] } | undefined {
  const nr = Number(BigInt.asIntN(64, word(registers, ORIG_AX)));
  const result = -Number(BigInt.asIntN(32, word(registers, AX)));
  if (nr < 0 || result !== EINTR) return undefined;
  return { nr, args: ARGUMENTS.map((r) => word(registers, r)) };
}

export function resuming(registers: Registers): Registers {
  const out = registers.slice();
  out[AX] = BigInt.asUintN(64, BigInt(-ERESTARTNOHAND));
  return out;
}

/**
 * Does what arch_do_signal_or_restart() would do: moves the program counter back to the `syscall` instruction, which
 * has two bytes.
 */
export function restarted(registers: Registers): Registers {
  const found = interrupted(registers);
  const out = registers.slice();
  if (found) {
    out[AX] = BigInt(found.result === ERESTART_RESTARTBLOCK ? NR.restart_syscall : found.nr);
    out[IP] = word(registers, IP) - 2n;
  }
  out[ORIG_AX] = NO_SYSCALL;
  return out;
}

/** mov eax, nr; what `loadArguments` appends; syscall. */
export function call(code: CodeWriter, nr: number, loadArguments: (code: CodeWriter) => void): void {
  code.raw(0xb8).imm32(nr);
  loadArguments(code);
  code.raw(0x0f, 0x05);
}

export const load = {
  edi: (code: CodeWriter, value: number) => code.raw(0xbf).imm32(value),
  esi: (code: CodeWriter, value: number) => code.raw(0xbe).imm32(value),
  edx: (code: CodeWriter, value: number) => code.raw(0xba).imm32(value),
  r10d: (code: CodeWriter, value: number) => code.raw(0x41, 0xba).imm32(value),
  rdi: (code: CodeWriter, value: number) => code.raw(0x48, 0xbf).imm64(value),
  rsi: (code: CodeWriter, value: number) => code.raw(0x48, 0xbe).imm64(value),
  rdx: (code: CodeWriter, value: number) => code.raw(0x48, 0xba).imm64(value),
};

/** jmp [rip]; the address follows. */
export function jumpTo(code: CodeWriter, address: number | bigint): void {
  code.raw(0xff, 0x25).imm32(0).imm64(address);
}

/**
 * tgkill(getpid(), gettid(), signal). The thread asks for its IDs itself, since those in its own PID namespace differ
 * from those in ours.
 */
export function ringBell(code: CodeWriter, signal: number): void {
  call(code, NR.getpid, () => {});
  code.raw(0x89, 0xc7); // mov edi, eax
  call(code, NR.gettid, () => {});
  code.raw(0x89, 0xc6); // mov esi, eax
  call(code, NR.tgkill, (c) => load.edx(c, signal));
}
