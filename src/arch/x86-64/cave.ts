/** x86-64: the code that enters and leaves threads that are not ours. See foothold.ts and visit.ts. */

import {
  CAVE_MARK,
  type Cave,
  type CavePlan,
  CLAIM,
  type LeftCave,
  type Registers,
  type SavedState,
  type WayOut,
  type WayOutPlan,
} from '../arch.ts';
import { CodeWriter } from '../assemble.ts';
import {
  AX,
  BX,
  CX,
  call,
  DI,
  DX,
  FLAGS,
  IP,
  interrupted,
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
  [R14, [0x49, 0xbe]],
  [R15, [0x49, 0xbf]],
];

const SIG_SETMASK = 2;
/** How long `leave` sleeps before it checks the claim again, in microseconds. */
const GLANCE = 1000;

/** rt_sigprocmask(SIG_SETMASK) to the 64-bit mask at `mask`. */
export function setMask(code: CodeWriter, mask: number): void {
  call(code, NR.rt_sigprocmask, (c) => {
    load.edi(c, SIG_SETMASK);
    load.rsi(c, mask);
    load.edx(c, 0);
    load.r10d(c, 8);
  });
}

/** cmp dword [rip+…], value */
function compareWord(code: CodeWriter, address: number, value: number): void {
  code.raw(0x83, 0x3d);
  code.imm32(address - (code.here + 5)).raw(value);
}

/**
 * The cave: straight-line code that maps the work area and restores everything. `enter` runs on into `leave`, so a task
 * whose tracer died at any instruction restores its own registers and goes on where it was.
 */
export function cave(plan: CavePlan): Cave & Written {
  const code = new CodeWriter(plan.address).raw(...CAVE_MARK).imm64(plan.area);
  const claim = code.here;
  code.imm64(0);
  const blockAll = code.here;
  code.imm64(~(1n << BigInt(plan.bell - 1)));
  const ownMask = code.here;
  code.imm64(plan.mask);
  const asFound = writeAsFound(code, plan.registers);
  const glance = code.here; // struct timeval
  code.imm64(0).imm64(GLANCE);
  const ignore = code.here; // struct sigaction: SIG_IGN, no flags, no restorer, no mask
  code.imm64(1).imm64(0).imm64(0).imm64(0);
  const sigaction = (act: number, old: number) =>
    call(code, NR.rt_sigaction, (c) => {
      load.edi(c, plan.bell);
      load.rsi(c, act);
      load.rdx(c, old);
      load.r10d(c, 8);
    });
  const enter = code.here;
  setMask(code, blockAll);
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
  compareWord(code, claim, CLAIM.forGood);
  code.raw(0x0f, 0x84); // je noArea
  const stays = code.near();
  awaitVisited(code, claim, plan.done, glance);
  sigaction(plan.oldAction, 0);
  notWritable();
  notSaved();
  call(code, NR.munmap, (c) => {
    load.rdi(c, plan.area);
    load.rsi(c, plan.areaLength);
  });
  noArea();
  stays();
  setMask(code, ownMask);
  const maskSet = code.here;
  const places = goBack(code, plan.registers);
  return { code: code.bytes(), enter, leave, claim, maskSet, saved: { mask: ownMask, asFound, ...places } };
}

/**
 * The results and numbers of system calls, which {@link goBack} does without, since it makes an interrupted call anew.
 * Whoever finds the cave later, with the thread still in it, can put the thread back as it was found.
 */
function writeAsFound(code: CodeWriter, registers: Registers): number {
  const at = code.here;
  code.imm64(word(registers, AX)).imm64(word(registers, ORIG_AX));
  return at;
}

/**
 * Sleeps until no visited thread uses the area. It sleeps in select(2), which does not use the restart block when it is
 * interrupted: the restart block still belongs to the call the task was in.
 */
function awaitVisited(code: CodeWriter, claim: number, done: number, glance: number): void {
  const again = code.here;
  compareWord(code, claim, CLAIM.none);
  code.raw(0x74); // je over
  const unclaimed = code.short();
  code.raw(0x48, 0xb8).imm64(done).raw(0x83, 0x38, 0x00, 0x75); // mov rax, done; cmp dword [rax], 0; jne over
  const isDone = code.short();
  call(code, NR.select, (c) => {
    c.raw(0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2); // xor edi, edi; … esi, edx, r10d
    c.raw(0x49, 0xb8).imm64(glance); // mov r8, glance
  });
  code.raw(0xe9).backNear(again);
  unclaimed();
  isDone();
}

/** What {@link readCave} needs to know of a cave besides. */
interface Written {
  readonly maskSet: number;
  readonly saved: SavedPlaces;
}

/** Offsets of the immediates in the code of {@link goBack}. */
interface Places {
  readonly flags: number;
  readonly registers: readonly number[];
  readonly ip: number;
}

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

/**
 * The exit code of a visited thread. While the claim stands, the area stays mapped until the thread has set `done`.
 * Without the claim the area may be unmapped already, so it is not touched.
 */
export function wayOut(plan: WayOutPlan): WayOut & { readonly saved: SavedPlaces } {
  const code = new CodeWriter(plan.address);
  const ownMask = code.here;
  code.imm64(0);
  const asFound = writeAsFound(code, new BigUint64Array(NAMES.length));
  const enter = code.here;
  compareWord(code, plan.claim, CLAIM.none);
  code.raw(0x74); // je unclaimed
  const unclaimed = code.short();
  code.raw(0x48, 0xb8).imm64(plan.done).raw(0xc7, 0x00).imm32(1); // mov rax, done; mov dword [rax], 1
  unclaimed();
  setMask(code, ownMask);
  const places = goBack(code, new BigUint64Array(NAMES.length));
  const bytes = code.bytes();
  const view = new DataView(bytes.buffer);
  const set = (registers: Registers, mask: bigint): void => {
    const back = restarted(registers);
    view.setBigUint64(ownMask - plan.address, mask, true);
    view.setBigUint64(asFound - plan.address, word(registers, AX), true);
    view.setBigUint64(asFound + 8 - plan.address, word(registers, ORIG_AX), true);
    view.setUint32(places.flags - plan.address, flagsWord(back), true);
    places.registers.forEach((place, i) => {
      view.setBigUint64(place - plan.address, word(back, RESTORED[i]?.[0] ?? 0), true);
    });
    view.setBigUint64(places.ip - plan.address, word(back, IP), true);
  };
  return { code: bytes, enter, saved: { mask: ownMask, asFound, ...places }, set };
}

/** Reads a cave that somebody else has written at `address`, with the way out of a visited thread `wayOutAt` in it. */
export function readCave(bytes: Uint8Array, address: number, wayOutAt: number): LeftCave | undefined {
  if (!CAVE_MARK.every((byte, i) => bytes[i] === byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const area = Number(view.getBigUint64(CAVE_MARK.length, true));
  // The values in the code do not change its length, so that one written for nobody tells where they are.
  const nobody = { registers: new BigUint64Array(NAMES.length), mask: 0n, bell: 1 };
  const like = cave({ ...nobody, address, area, areaLength: 0, codeLength: 0, oldAction: 0, done: 0 });
  const guest = wayOut({ address: wayOutAt, claim: like.claim, done: 0 });
  return {
    area,
    enter: like.enter,
    leave: like.leave,
    maskSet: like.maskSet,
    claim: like.claim,
    leader: readSaved(view, address, like.saved),
    guest: { ...readSaved(view, address, guest.saved), enter: guest.enter },
  };
}

/** Where the cave, or a way out, has what belongs to the thread. */
type SavedPlaces = Places & { readonly mask: number; readonly asFound: number };

function readSaved(view: DataView, address: number, places: SavedPlaces): SavedState {
  const at = (place: number): bigint => view.getBigUint64(place - address, true);
  return {
    mask: at(places.mask),
    registers: (now) => {
      const out = now.slice();
      RESTORED.forEach(([register], i) => {
        out[register] = at(places.registers[i] ?? address);
      });
      const flags = view.getUint32(places.flags - address, true);
      out[FLAGS] = (word(now, FLAGS) & ~0x8d5n) | BigInt((flags >> 8) | ((flags & 1) << 11));
      out[AX] = at(places.asFound);
      out[ORIG_AX] = at(places.asFound + 8);
      // restarted() has moved it back, onto the instruction.
      out[IP] = at(places.ip) + (interrupted(out) ? 2n : 0n);
      return out;
    },
  };
}
