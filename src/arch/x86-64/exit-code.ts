/** x86-64: the end of all code that leads a thread out: its mask and its registers are restored. */

import type { Registers } from '../arch.ts';
import type { CodeWriter } from '../assemble.ts';
import {
  AX,
  BX,
  CX,
  call,
  DI,
  DX,
  FLAGS,
  IP,
  jumpTo,
  load,
  NAMES,
  ORIG_AX,
  R8,
  R9,
  R10,
  R11,
  R14,
  R15,
  restarted,
  SI,
  word,
} from './code.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';

/** mov r64, imm64 for each register that system calls, the interpreter or the cave itself change. */
export const RESTORED: readonly (readonly [register: number, opcode: readonly [number, number]])[] = [
  [AX, [0x48, 0xb8]],
  [CX, [0x48, 0xb9]],
  [DX, [0x48, 0xba]],
  [BX, [0x48, 0xbb]],
  [SI, [0x48, 0xbe]],
  [DI, [0x48, 0xbf]],
  [R8, [0x49, 0xb8]],
  [R9, [0x49, 0xb9]],
  [R10, [0x49, 0xba]],
  [R11, [0x49, 0xbb]],
  [R14, [0x49, 0xbe]],
  [R15, [0x49, 0xbf]],
];

const SIG_SETMASK = 2;

export const NO_REGISTERS: Registers = new BigUint64Array(NAMES.length);

/** rt_sigprocmask(SIG_SETMASK) to the 64-bit mask whose address `mask` writes. */
export function setMask(code: CodeWriter, mask: () => void): void {
  call(code, NR.rt_sigprocmask, (c) => {
    load.edi(c, SIG_SETMASK);
    c.raw(0x48, 0xbe); // mov rsi, …
    mask();
    load.edx(c, 0);
    load.r10d(c, 8);
  });
}

/** cmp dword [rip+…], value */
export function compareWord(code: CodeWriter, address: number, value: number): void {
  code.raw(0x83, 0x3d);
  code.imm32(address - (code.here + 5)).raw(value);
}

/**
 * The results and numbers of system calls, which {@link goBack} does without, since it makes an interrupted call anew.
 * Whoever finds the cave later, with the thread still in it, can put the thread back as it was found.
 */
export function writeAsFound(code: CodeWriter, registers: Registers): number {
  const at = code.here;
  code.imm64(word(registers, AX)).imm64(word(registers, ORIG_AX));
  return at;
}

/** Offsets of the immediates in the code of {@link goBack}. */
export interface Places {
  readonly flags: number;
  readonly registers: readonly number[];
  readonly ip: number;
}

/** Where the cave, or a way out, has what belongs to the thread. */
export type SavedPlaces = Places & { readonly mask: number; readonly asFound: number };

/**
 * Restores flags and the changed registers, then jumps to where the thread was. Neither `mov` nor `jmp` changes a flag.
 */
export function goBack(code: CodeWriter, registers: Registers): Places {
  const back = restarted(registers);
  code.raw(0xb8); // mov eax, flags
  const flags = code.here;
  code.imm32(flagsWord(back));
  code.raw(0x04, 0x7f, 0x9e); // add al, 127 (overflows from 1 on); sahf
  const places = RESTORED.map(([register, opcode]) => {
    const place = code.raw(...opcode).here;
    code.imm64(word(back, register));
    return place;
  });
  jumpTo(code, word(back, IP));
  return { flags, registers: places, ip: code.here - 8 };
}

/**
 * The operand for `add al, 127; sahf`: the second byte holds the arithmetic flags that `sahf` loads; the first is 1 if
 * the overflow flag is set, which `sahf` does not load and the addition makes.
 */
function flagsWord(registers: Registers): number {
  const flags = Number(word(registers, FLAGS) & 0xfffn);
  return ((flags & 0xd5) << 8) | (flags >> 11);
}

/** Puts what belongs to a thread into the code. */
export function putSaved(view: DataView, places: SavedPlaces, registers: Registers, mask: bigint): void {
  const back = restarted(registers);
  view.setBigUint64(places.mask, mask, true);
  view.setBigUint64(places.asFound, word(registers, AX), true);
  view.setBigUint64(places.asFound + 8, word(registers, ORIG_AX), true);
  view.setUint32(places.flags, flagsWord(back), true);
  for (let i = 0; i < RESTORED.length; i++) {
    view.setBigUint64(places.registers[i] ?? 0, word(back, RESTORED[i]?.[0] ?? 0), true);
  }
  view.setBigUint64(places.ip, word(back, IP), true);
}
