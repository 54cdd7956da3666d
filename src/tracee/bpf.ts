/**
 * An interpreter of classic BPF, as seccomp uses it (Documentation/userspace-api/seccomp_filter.rst, kernel/seccomp.c).
 * Pure.
 */

import { SECCOMP_RET } from '../kernel/constants/seccomp.ts';
import { SeccompData } from '../kernel/layouts/seccomp.ts';

/** The input of a filter, which describes a system call. */
export function seccompData(nr: number, arch: number, ip: number, args: readonly number[]): DataView {
  const words = args.map((arg) => BigInt.asUintN(64, BigInt(arg)));
  return new DataView(SeccompData.encode({ nr, arch, instructionPointer: BigInt(ip), args: words }).buffer);
}

const KILL = SECCOMP_RET.KILL_THREAD;

/**
 * Runs a filter and returns its result, SECCOMP_RET_*. `code` has 8 bytes for each instruction. For code that the
 * kernel would refuse to install, the result is SECCOMP_RET_KILL_THREAD.
 */
export function runFilter(code: Uint8Array, data: DataView): number {
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const memory = new Uint32Array(16);
  let a = 0;
  let x = 0;
  for (let at = 0; at + 8 <= code.length; at += 8) {
    // struct sock_filter { u16 code; u8 jt, jf; u32 k; }
    const op = view.getUint16(at, true);
    const k = view.getUint32(at + 4, true);
    const operand = (op & 0x08) === 0 ? k : x;
    switch (op & 0x07) {
      case 0x00: // LD
        a = load(op, k, data, memory);
        break;
      case 0x01: // LDX
        x = load(op, k, data, memory);
        break;
      case 0x02: // ST
        memory[k] = a;
        break;
      case 0x03: // STX
        memory[k] = x;
        break;
      case 0x04: // ALU
        a = compute(op & 0xf0, a, operand);
        break;
      case 0x05: // JMP
        if ((op & 0xf0) === 0) at += 8 * k;
        else at += 8 * view.getUint8(at + (holds(op & 0xf0, a, operand) ? 2 : 3));
        break;
      case 0x06: // RET
        return (op & 0x18) === 0x10 ? a : k;
      default: // MISC: TAX, TXA
        if (op === 0x07) x = a;
        else a = x;
    }
  }
  return KILL;
}

function load(op: number, k: number, data: DataView, memory: Uint32Array): number {
  switch (op & 0xe0) {
    case 0x00: // IMM
      return k;
    case 0x20: // ABS: a word of seccomp_data
      return k + 4 <= data.byteLength ? data.getUint32(k, true) : 0;
    case 0x60: // MEM
      return memory[k] ?? 0;
    default: // LEN
      return data.byteLength;
  }
}

function compute(op: number, a: number, b: number): number {
  switch (op) {
    case 0x00:
      return (a + b) >>> 0;
    case 0x10:
      return (a - b) >>> 0;
    case 0x20:
      return Math.imul(a, b) >>> 0;
    case 0x30:
      return b === 0 ? 0 : Math.floor(a / b);
    case 0x40:
      return (a | b) >>> 0;
    case 0x50:
      return (a & b) >>> 0;
    case 0x60:
      return b > 31 ? 0 : (a << b) >>> 0;
    case 0x70:
      return b > 31 ? 0 : a >>> b;
    case 0x80:
      return -a >>> 0;
    case 0xa0:
      return (a ^ b) >>> 0;
    default:
      return a;
  }
}

function holds(op: number, a: number, b: number): boolean {
  switch (op) {
    case 0x10:
      return a === b;
    case 0x20:
      return a > b;
    case 0x30:
      return a >= b;
    default: // JSET
      return (a & b) !== 0;
  }
}
