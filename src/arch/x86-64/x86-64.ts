/** x86-64: registers, and all machine code that Stasis runs in tasks. */

import { Part } from '../../base/part.ts';
import type { Arch, ProgramEnd, Registers, SpawnPlan } from '../arch.ts';
import { CodeWriter } from '../assemble.ts';
import { PAGE_SIZE } from '../page-size.ts';
import {
  ARGUMENTS,
  AX,
  BX,
  call,
  cutShort,
  IP,
  interrupted,
  load,
  NAMES,
  NO_SYSCALL,
  ORIG_AX,
  R14,
  R15,
  restarted,
  resuming,
  ringBell,
  SP,
  word,
} from './code.ts';
import { buryCode, forwardCode, noteCode } from './handlers.ts';
import { pageSums } from './page-sums.ts';
import { ARCH, DEBUG_REGISTERS, NT_X86_XSTATE } from './processor.ts';
import { readSocketOptions } from './socket-options.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';
import { fromImage, threadInfo, toImage } from './thread-info.ts';
import { TILES } from './tiles.ts';
import { askLayout, exceedsImage, fromFpregs, isLike, LAYOUT_CALLS, LAYOUT_REFUSED, toFpregs } from './xsave.ts';

/** What leads into tasks that are not ours and out of them: a restore has none. */
const CAVES = new Part(() => require('./cave.ts') as typeof import('./cave.ts'));
/** Only for tasks that have reached limits. */
const LIMITS = new Part(() => require('./limits.ts') as typeof import('./limits.ts'));
/** What tells about the processor, for `cpuinfo` alone. */
const CPU = new Part(() => require('./cpu.ts') as typeof import('./cpu.ts'));

function jump(base: Registers, pc: number): Registers {
  const out = base.slice();
  out[IP] = BigInt(pc);
  out[ORIG_AX] = NO_SYSCALL;
  return out;
}

function withWayOut(base: Registers, leave: number): Registers {
  const out = base.slice();
  out[R14] = BigInt(leave);
  return out;
}

function oneCall(base: Registers, pc: number, nr: number, args: readonly number[]): Registers {
  const out = jump(base, pc);
  out[AX] = BigInt(nr);
  ARGUMENTS.forEach((register, i) => {
    out[register] = BigInt.asUintN(64, BigInt(args[i] ?? 0));
  });
  return out;
}

const USER_CODE = 0x33;

/** Looks for the ip, flags and cs (16 bits) that follow each other in struct sigcontext_64. */
function returnsInto(stack: Uint32Array, start: number, end: number): boolean {
  for (let i = 0; i + 5 <= stack.length; i += 2) {
    if (((stack[i + 4] ?? 0) & 0xffff) !== USER_CODE) continue;
    const ip = (stack[i] ?? 0) + (stack[i + 1] ?? 0) * 0x1_0000_0000;
    if (ip >= start && ip < end) return true;
  }
  return false;
}

/** For each argument: mov reg, [r15+8+8i]; mov reg, [reg] (taken when bit i of bl says "load from there"). */
const ARGUMENT_LOADS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [
    [0x49, 0x8b, 0x7f, 0x08],
    [0x48, 0x8b, 0x3f],
  ], // rdi
  [
    [0x49, 0x8b, 0x77, 0x10],
    [0x48, 0x8b, 0x36],
  ], // rsi
  [
    [0x49, 0x8b, 0x57, 0x18],
    [0x48, 0x8b, 0x12],
  ], // rdx
  [
    [0x4d, 0x8b, 0x57, 0x20],
    [0x4d, 0x8b, 0x12],
  ], // r10
  [
    [0x4d, 0x8b, 0x47, 0x28],
    [0x4d, 0x8b, 0x00],
  ], // r8
  [
    [0x4d, 0x8b, 0x4f, 0x30],
    [0x4d, 0x8b, 0x09],
  ], // r9
];

/**
 * The interpreter of programs. r15 points to the entry: u32 number, u32 flags, six arguments, one result (64 bytes).
 * Number -1 ends the program; so does a failure, unless flag 0x40 tolerates it. Flag 0x80 marks entries that are no
 * system calls. Their number says which: 0 is cpuid(leaf, subleaf), its four registers stored at the third argument,
 * unless the fourth is 0; 1 ends the program unless its first two arguments are equal. It uses no stack and no
 * registers but those of system calls, rbx and r15, and never touches the floating-point state. Flag 0x100, only for
 * processes of ours (which end in a trap): calls the code at the sixth argument with the others. In tasks that are not
 * ours it ends with a jump to the exit code, whose address is in r14.
 */
function programCode(end: ProgramEnd): Uint8Array {
  const key = end.kind === 'bell' ? end.signal : end.kind;
  const known = interpreters.get(key) ?? interpreter(end).bytes;
  interpreters.set(key, known);
  return known;
}

/** The interpreters that have been made, by their ends. */
const interpreters = new Map<ProgramEnd['kind'] | number, Uint8Array>();

/**
 * As {@link programCode}, with the offset of the instruction behind `syscall`: where a task is that sleeps in a call.
 */
function interpreter(end: ProgramEnd): { readonly bytes: Uint8Array; readonly callReturn: number } {
  const code = new CodeWriter();
  const loop = code.here;
  code.raw(0x41, 0x8b, 0x07); // mov eax, [r15]
  code.raw(0x41, 0x8b, 0x5f, 0x04); // mov ebx, [r15+4]
  code.raw(0x83, 0xf8, 0xff); // cmp eax, -1
  code.raw(0x0f, 0x84); // je done
  const finished = code.near();
  ARGUMENT_LOADS.forEach(([direct, indirect], i) => {
    code.raw(...direct);
    code.raw(0xf6, 0xc3, 1 << i); // test bl, bit
    code.raw(0x74, 0x03, ...indirect); // jz over
  });
  code.raw(0xf6, 0xc3, 0x80, 0x75); // test bl, 0x80; jnz cpuid
  const special = code.short();
  // test ebx, 0x100; jnz call
  const isCall = end.kind === 'trap' && code.raw(0xf7, 0xc3).imm32(0x100).raw(0x75).short();
  code.raw(0x0f, 0x05); // syscall
  const callReturn = code.here;
  code.raw(0x49, 0x89, 0x47, 0x38); // mov [r15+56], rax
  code.raw(0xf6, 0xc3, 0x40, 0x75); // test bl, 0x40; jnz next
  const tolerated = code.short();
  code.raw(0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77); // cmp rax, -4096; ja done
  const failed = code.short();
  tolerated();
  const next = code.here;
  code.raw(0x49, 0x83, 0xc7, 0x40); // add r15, 64
  code.raw(0xe9).backNear(loop);
  special();
  code.raw(0x85, 0xc0, 0x75); // test eax, eax; jnz expect
  const expect = code.short();
  code.raw(0x4d, 0x85, 0xd2, 0x0f, 0x84).backNear(next); // test r10, r10; jz next
  code.raw(0x49, 0x89, 0xd0, 0x89, 0xf8, 0x89, 0xf1); // mov r8, rdx; mov eax, edi; mov ecx, esi
  code.raw(0x0f, 0xa2); // cpuid
  code.raw(0x41, 0x89, 0x00, 0x41, 0x89, 0x58, 0x04); // mov [r8], eax; mov [r8+4], ebx
  code.raw(0x41, 0x89, 0x48, 0x08, 0x41, 0x89, 0x50, 0x0c); // mov [r8+8], ecx; mov [r8+12], edx
  code.raw(0xe9).backNear(next);
  if (isCall) {
    isCall();
    code.raw(0x41, 0xff, 0xd1); // call r9
    code.raw(0xe9).backNear(callReturn);
  }
  expect();
  code.raw(0x48, 0x39, 0xf7, 0x0f, 0x84).backNear(next); // cmp rdi, rsi; je next
  finished();
  failed();
  endOf(code, end);
  return { bytes: code.bytes(), callReturn };
}

function endOf(code: CodeWriter, end: ProgramEnd): void {
  if (end.kind === 'trap') {
    code.raw(0xcc); // int3
    return;
  }
  if (end.kind === 'exit') {
    call(code, NR.exit_group, (c) => load.edi(c, 1));
    return;
  }
  ringBell(code, end.signal);
  code.raw(0x41, 0xff, 0xe6); // jmp r14
}

/** Lowest address a program may be mapped at by default (vm.mmap_min_addr). */
const SEED_BASE = 0x10000;

/**
 * The seed calls read(socket, stack, 1) until the other end is closed, and then exits. So it ends by itself if its
 * maker dies before the seed is traced.
 */
function seed(socket: number): { elf: Uint8Array; callAt: number } {
  const elf = new Uint8Array(PAGE_SIZE);
  const view = new DataView(elf.buffer);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 62, true); // EM_X86_64
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(SEED_BASE + 0x100), true); // entry
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 5, true); // PF_R|PF_X
  view.setBigUint64(80, BigInt(SEED_BASE), true);
  view.setBigUint64(88, BigInt(SEED_BASE), true);
  view.setBigUint64(96, BigInt(PAGE_SIZE), true);
  view.setBigUint64(104, BigInt(PAGE_SIZE), true);
  view.setBigUint64(112, BigInt(PAGE_SIZE), true);
  const code = new CodeWriter(SEED_BASE + 0x100);
  const again = code.here;
  call(code, NR.read, (c) => {
    load.edi(c, socket);
    c.raw(0x48, 0x8d, 0x74, 0x24, 0x80); // lea rsi, [rsp-128]
    load.edx(c, 1);
  });
  code.raw(0x48, 0x85, 0xc0, 0x7e); // test rax, rax; jle end
  const end = code.short();
  code.raw(0xe9).backNear(again);
  end();
  call(code, NR.exit_group, (c) => load.edi(c, 0));
  code.align(16);
  const callAt = code.here;
  code.raw(0x0f, 0x05, 0xcc); // syscall; int3
  elf.set(code.bytes(), 0x100);
  return { elf, callAt };
}

/** Sets r15 to the entries and runs the interpreter. The last call of the program has to end the process. */
function detachedCode(entries: number): Uint8Array {
  const code = new CodeWriter();
  code.raw(0x49, 0xbf).imm64(entries); // mov r15, entries
  return code.raw(...programCode({ kind: 'exit' })).bytes();
}

/** capset(header, sets); for each of 64 capabilities prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0). */
function keepCapabilities(code: CodeWriter, { header, sets }: NonNullable<SpawnPlan['capabilities']>): void {
  call(code, NR.capset, (c) => {
    load.rdi(c, header);
    load.rsi(c, sets);
  });
  code.raw(0x31, 0xdb); // xor ebx, ebx
  const again = code.here;
  call(code, NR.prctl, (c) => {
    load.edi(c, 47);
    load.esi(c, 2);
    c.raw(0x89, 0xda); // mov edx, ebx
    load.r10d(c, 0);
    c.raw(0x45, 0x31, 0xc0); // xor r8d, r8d
  });
  code.raw(0xff, 0xc3); // inc ebx
  code.raw(0x83, 0xfb, 0x40); // cmp ebx, 64
  code.raw(0x0f, 0x82).backNear(again); // jb again
}

/** dup3(socket, target, 0); execveat(executable, "", argv, NULL, AT_EMPTY_PATH); exit_group(127). */
function spawnCode(plan: SpawnPlan): Uint8Array {
  const code = new CodeWriter();
  if (plan.capabilities) keepCapabilities(code, plan.capabilities);
  call(code, NR.dup3, (c) => {
    load.edi(c, plan.socket);
    load.esi(c, plan.socketTarget);
    load.edx(c, 0);
  });
  call(code, NR.execveat, (c) => {
    load.edi(c, plan.executable);
    load.rsi(c, plan.emptyString);
    load.rdx(c, plan.argv);
    load.r10d(c, 0);
    c.raw(0x41, 0xb8).imm32(0x1000); // mov r8d, AT_EMPTY_PATH
  });
  call(code, NR.exit_group, (c) => load.edi(c, 127));
  return code.bytes();
}

/** The x86-64 architecture. */
export const X86_64: Arch = {
  registerCount: NAMES.length,
  march: 1,
  coreField: 'thread_info',
  toImage,
  fromImage,
  threadInfo,
  extendedState: {
    note: NT_X86_XSTATE,
    ownName: 'xsave',
    askLayout,
    layoutRefused: LAYOUT_REFUSED,
    layoutCalls: LAYOUT_CALLS,
    toImage: toFpregs,
    fromImage: fromFpregs,
    exceedsImage,
    isLike,
    permission: TILES,
  },
  get processor() {
    const { askCpu, INSTRUCTIONS, WORDS_OF } = CPU.load();
    return { ask: askCpu, instructions: INSTRUCTIONS, wordsOf: WORDS_OF };
  },
  compat: {
    mapVdso: { name: 'arch_prctl', args: [ARCH.MAP_VDSO_32, 0] },
    getpid: { code: Uint8Array.of(0xcd, 0x80, 0xcc), nr: 20 }, // int 0x80; int3
  },
  // The first debug register, and a 1 in the one that enables it (DR7).
  breakpoint: (address) => [
    [DEBUG_REGISTERS, address],
    [DEBUG_REGISTERS + 7 * 8, 1],
  ],
  jumpCode: (target) =>
    new CodeWriter()
      .raw(0x48, 0xb8) // mov rax, target
      .imm64(target)
      .raw(0xff, 0xe0) // jmp rax
      .bytes(),
  auditArch: 0xc000_003e,
  syscallInstruction: Uint8Array.of(0x0f, 0x05),
  pc: (registers) => word(registers, IP),
  sp: (registers) => word(registers, SP),
  returnsInto,
  interrupted,
  restarted,
  cutShort,
  resuming,
  jump,
  runProgram: (base, code, entries) => {
    const out = jump(base, code);
    out[R15] = BigInt(entries);
    return out;
  },
  withWayOut,
  wayOutOf: (registers) => Number(word(registers, R14)),
  oneCall,
  programCounter: (registers) => Number(word(registers, R15)),
  outcomeOfEntry: (registers) => Number(BigInt.asIntN(64, word(registers, BX))),
  result: (registers) => Number(BigInt.asIntN(64, word(registers, AX))),
  pcOffset: 8 * IP,
  programCode,
  get callReturn() {
    return interpreter({ kind: 'bell', signal: 0 }).callReturn;
  },
  cave: (plan) => CAVES.load().cave(plan),
  readCave: (bytes, address, wayOutAt) => CAVES.load().readCave(bytes, address, wayOutAt),
  limitsCode: (plan) => LIMITS.load().limitsCode(plan),
  wayOut: (plan) => CAVES.load().wayOut(plan),
  seed,
  buryCode,
  noteCode,
  forwardCode,
  detachedCode,
  pageSums,
  readSocketOptions,
  spawnCode,
};
