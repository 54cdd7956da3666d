/** x86-64: registers, and every byte of machine code Stasis brings into a task. */
import { NR_X86_64 as NR } from '../../kernel/nr-x86-64.ts';
import {
  type Arch,
  CAVE_MARK,
  type Cave,
  type CavePlan,
  type ProgramEnd,
  type Registers,
  type SpawnPlan,
} from './arch.ts';
import { CodeWriter } from './assemble.ts';

/** struct user_regs_struct, word by word; the names are those of the core image. */
const NAMES = [
  ...['r15', 'r14', 'r13', 'r12', 'bp', 'bx', 'r11', 'r10', 'r9', 'r8', 'ax', 'cx', 'dx', 'si', 'di', 'orig_ax'],
  ...['ip', 'cs', 'flags', 'sp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs'],
] as const;

const R15 = 0;
const BX = 5;
const R11 = 6;
const R10 = 7;
const R9 = 8;
const R8 = 9;
const AX = 10;
const CX = 11;
const DX = 12;
const SI = 13;
const DI = 14;
const ORIG_AX = 15;
const IP = 16;
const SP = 19;
const ARGUMENTS = [DI, SI, DX, R10, R8, R9] as const;
const NO_SYSCALL = 0xffff_ffff_ffff_ffffn;

/** The kernel's internal "start this call again" results (include/linux/errno.h). */
const ERESTARTSYS = 512;
const ERESTARTNOHAND = 514;
const ERESTART_RESTARTBLOCK = 516;

const word = (registers: Registers, index: number): bigint => registers[index] ?? 0n;

function interrupted(registers: Registers): { nr: number; args: bigint[]; result: number } | undefined {
  const nr = Number(BigInt.asIntN(64, word(registers, ORIG_AX)));
  const result = -Number(BigInt.asIntN(32, word(registers, AX)));
  const restartable = (result >= ERESTARTSYS && result <= ERESTARTNOHAND) || result === ERESTART_RESTARTBLOCK;
  if (nr < 0 || !restartable) return undefined;
  return { nr, args: ARGUMENTS.map((r) => word(registers, r)), result };
}

/** What arch_do_signal_or_restart() would do: step back onto the `syscall` instruction, two bytes long. */
function restarted(registers: Registers): Registers {
  const found = interrupted(registers);
  const out = registers.slice();
  if (found) {
    out[AX] = BigInt(found.result === ERESTART_RESTARTBLOCK ? NR.restart_syscall : found.nr);
    out[IP] = word(registers, IP) - 2n;
  }
  out[ORIG_AX] = NO_SYSCALL;
  return out;
}

function jump(base: Registers, pc: number): Registers {
  const out = base.slice();
  out[IP] = BigInt(pc);
  out[ORIG_AX] = NO_SYSCALL;
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

/** mov eax, nr … syscall, with the arguments spelled between. */
function call(code: CodeWriter, nr: number, loadArguments: (code: CodeWriter) => void): void {
  code.raw(0xb8).imm32(nr);
  loadArguments(code);
  code.raw(0x0f, 0x05);
}

const load = {
  edi: (code: CodeWriter, value: number) => code.raw(0xbf).imm32(value),
  esi: (code: CodeWriter, value: number) => code.raw(0xbe).imm32(value),
  edx: (code: CodeWriter, value: number) => code.raw(0xba).imm32(value),
  r10d: (code: CodeWriter, value: number) => code.raw(0x41, 0xba).imm32(value),
  rdi: (code: CodeWriter, value: number) => code.raw(0x48, 0xbf).imm64(value),
  rsi: (code: CodeWriter, value: number) => code.raw(0x48, 0xbe).imm64(value),
  rdx: (code: CodeWriter, value: number) => code.raw(0x48, 0xba).imm64(value),
};

/** jmp [rip]; the address follows. */
function jumpTo(code: CodeWriter, address: number | bigint): void {
  code.raw(0xff, 0x25).imm32(0).imm64(address);
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
 * Number -1 ends the program; so does a failure, unless flag 0x40 tolerates it. Flag 0x80 is the one entry that is no
 * system call: cpuid(leaf, subleaf), its four registers stored at the third argument,
 * unless the fourth is 0.
 * Uses no stack and no register but the syscall's own, rbx and r15; never touches the floating-point state.
 */
function programCode(end: ProgramEnd): Uint8Array {
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
  const cpuid = code.short();
  code.raw(0x0f, 0x05); // syscall
  code.raw(0x49, 0x89, 0x47, 0x38); // mov [r15+56], rax
  code.raw(0xf6, 0xc3, 0x40, 0x75); // test bl, 0x40; jnz next
  const tolerated = code.short();
  code.raw(0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77); // cmp rax, -4096; ja done
  const failed = code.short();
  tolerated();
  const next = code.here;
  code.raw(0x49, 0x83, 0xc7, 0x40); // add r15, 64
  code.raw(0xe9).backNear(loop);
  cpuid();
  code.raw(0x4d, 0x85, 0xd2, 0x0f, 0x84).backNear(next); // test r10, r10; jz next
  code.raw(0x49, 0x89, 0xd0, 0x89, 0xf8, 0x89, 0xf1); // mov r8, rdx; mov eax, edi; mov ecx, esi
  code.raw(0x0f, 0xa2); // cpuid
  code.raw(0x41, 0x89, 0x00, 0x41, 0x89, 0x58, 0x04); // mov [r8], eax; mov [r8+4], ebx
  code.raw(0x41, 0x89, 0x48, 0x08, 0x41, 0x89, 0x50, 0x0c); // mov [r8+8], ecx; mov [r8+12], edx
  code.raw(0xe9).backNear(next);
  finished();
  failed();
  if (end.kind === 'trap') return code.raw(0xcc).bytes(); // int3
  call(code, NR.tgkill, (c) => {
    load.edi(c, end.tgid);
    load.esi(c, end.tid);
    load.edx(c, end.signal);
  });
  jumpTo(code, end.leave);
  return code.bytes();
}

/** mov r64, imm64 for what system calls, the interpreter and the cave itself change. */
const RESTORED: readonly (readonly [register: number, opcode: readonly [number, number]])[] = [
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
  [R15, [0x49, 0xbf]],
];

/**
 * The cave: straight-line code that makes the area, and puts everything back. `enter` runs into `leave`, so that a
 * task whose tracer died anywhere in here walks out on the far side by itself, registers and all.
 */
function cave(plan: CavePlan): Cave {
  const dataAt = plan.address;
  const code = new CodeWriter(dataAt).raw(...CAVE_MARK);
  const blockAll = code.here;
  code.imm64(~(1n << BigInt(plan.bell - 1)));
  const ownMask = code.here;
  code.imm64(plan.mask);
  const ignore = code.here; // struct sigaction: SIG_IGN, no flags, no restorer, no mask
  code.imm64(1).imm64(0).imm64(0).imm64(0);
  const setMask = (mask: number) =>
    call(code, NR.rt_sigprocmask, (c) => {
      load.edi(c, 2); // SIG_SETMASK
      load.rsi(c, mask);
      load.edx(c, 0);
      load.r10d(c, 8);
    });
  const sigaction = (act: number, old: number) =>
    call(code, NR.rt_sigaction, (c) => {
      load.edi(c, plan.bell);
      load.rsi(c, act);
      load.rdx(c, old);
      load.r10d(c, 8);
    });
  const enter = code.here;
  setMask(blockAll);
  call(code, NR.mmap, (c) => {
    load.rdi(c, plan.area);
    load.rsi(c, plan.areaLength);
    load.edx(c, 5); // PROT_READ|PROT_EXEC: never writable and executable at once (MDWE, SELinux execmem)
    load.r10d(c, 0x100022); // MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE
    c.raw(0x49, 0xc7, 0xc0).imm32(-1); // mov r8, -1
    c.raw(0x45, 0x31, 0xc9); // xor r9d, r9d
  });
  code.raw(0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff); // cmp rax, -4096
  code.raw(0x0f, 0x87); // ja noArea
  const noArea = code.near();
  call(code, NR.mprotect, (c) => {
    load.rdi(c, plan.area + plan.codeLength);
    load.rsi(c, plan.areaLength - plan.codeLength);
    load.edx(c, 3); // PROT_READ|PROT_WRITE
  });
  code.raw(0x85, 0xc0, 0x0f, 0x85); // test eax, eax; jnz unmap
  const notWritable = code.near();
  sigaction(0, plan.oldAction);
  code.raw(0x85, 0xc0, 0x0f, 0x85); // test eax, eax; jnz unmap
  const notSaved = code.near();
  sigaction(ignore, 0);
  const leave = code.here;
  sigaction(plan.oldAction, 0);
  notWritable();
  notSaved();
  call(code, NR.munmap, (c) => {
    load.rdi(c, plan.area);
    load.rsi(c, plan.areaLength);
  });
  noArea();
  setMask(ownMask);
  const back = restarted(plan.registers);
  for (const [register, opcode] of RESTORED) code.raw(...opcode).imm64(word(back, register));
  jumpTo(code, word(back, IP));
  return { code: code.bytes(), enter, leave };
}

/** Lowest address a program may be mapped at by default (vm.mmap_min_addr). */
const SEED_BASE = 0x10000;

/**
 * The seed: read(socket, stack, 1) until the other end hangs up, then exit. When its maker dies before it is traced,
 * it ends by itself.
 */
function seed(socket: number): { elf: Uint8Array; callAt: number } {
  const elf = new Uint8Array(4096);
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
  view.setBigUint64(96, 4096n, true);
  view.setBigUint64(104, 4096n, true);
  view.setBigUint64(112, 4096n, true);
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

/** dup3(socket, target, 0); execveat(executable, "", argv, NULL, AT_EMPTY_PATH); exit_group(127). */
/** waitid(P_PID, tid, NULL, WEXITED | WNOHANG | __WALL, NULL) for each tid of a list that ends with 0. */
function buryCode(tids: number): { code: Uint8Array; restorer: number } {
  const code = new CodeWriter();
  code.raw(0x53); // push rbx
  code.raw(0x48, 0xbb).imm64(tids); // mov rbx, tids
  const next = code.here;
  code.raw(0x8b, 0x33, 0x85, 0xf6, 0x74); // mov esi, [rbx]; test esi, esi; jz done
  const done = code.short();
  code.raw(0x48, 0x83, 0xc3, 0x04); // add rbx, 4
  call(code, NR.waitid, (c) => {
    load.edi(c, 1);
    load.edx(c, 0);
    load.r10d(c, 0x4000_0005);
    c.raw(0x45, 0x31, 0xc0); // xor r8d, r8d
  });
  code.raw(0xe9).backNear(next); // jmp next
  done();
  code.raw(0x5b, 0xc3); // pop rbx; ret
  const restorer = code.here;
  call(code, NR.rt_sigreturn, () => {});
  return { code: code.bytes(), restorer };
}

function spawnCode(plan: SpawnPlan): Uint8Array {
  const code = new CodeWriter();
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
  registerNames: NAMES,
  syscallInstruction: Uint8Array.of(0x0f, 0x05),
  pc: (registers) => word(registers, IP),
  sp: (registers) => word(registers, SP),
  interrupted,
  restarted,
  jump,
  runProgram: (base, code, entries) => {
    const out = jump(base, code);
    out[R15] = BigInt(entries);
    return out;
  },
  oneCall,
  programCounter: (registers) => Number(word(registers, R15)),
  result: (registers) => Number(BigInt.asIntN(64, word(registers, AX))),
  programCode,
  cave,
  seed,
  buryCode,
  spawnCode,
};
