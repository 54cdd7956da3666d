/**
 * x86-64: the code of a cave, made for address 0 and an area at address 0. All tasks get the same code; see cave.ts for
 * what it does.
 */

import { CAVE_MARK, type Cave, type CavePlan, CLAIM, type QuietWay } from '../arch.ts';
import { CodeWriter } from '../assemble.ts';
import { call, load, ringBell } from './code.ts';
import { compareWord, goBack, NO_REGISTERS, type SavedPlaces, setMask, writeAsFound } from './exit-code.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';

/** How long `leave` sleeps before it checks the claim again, in microseconds. */
const GLANCE = 1000;
/** The byte of the mark that tells that the bell is ignored anyway. */
export const QUIET_AT = 6;

/** What {@link readCave} needs to know of a cave besides. */
export interface Written {
  readonly maskSet: number;
  readonly saved: SavedPlaces;
}

/** A cave at address 0 whose area is at address 0: what is the same for all tasks. */
export interface Layout extends Omit<Cave & Written, 'code'> {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where there are addresses in the cave and in the area, with their offsets. */
  readonly inCave: readonly Place[];
  readonly inArea: readonly Place[];
}

export type Place = readonly [at: number, offset: bigint];

const layouts = new Map<string, Layout>();

export function layoutFor(plan: CavePlan): Layout {
  const { bell, isQuiet, areaLength, codeLength, oldAction, done } = plan;
  const key = `${bell} ${isQuiet} ${areaLength} ${codeLength} ${oldAction} ${done}`;
  const known = layouts.get(key) ?? layOut(plan);
  layouts.set(key, known);
  return known;
}

/** Code with addresses that are known only later. */
class CaveWriter extends CodeWriter {
  readonly inCave: Place[] = [];
  readonly inArea: Place[] = [];

  /** The address of an offset in the cave. */
  own(offset: number): void {
    this.inCave.push([this.here, BigInt(offset)]);
    this.imm64(0);
  }

  /** The address of an offset in the area. */
  ofArea(offset: number): void {
    this.inArea.push([this.here, BigInt(offset)]);
    this.imm64(0);
  }
}

function layOut(plan: CavePlan): Layout {
  const { bell, isQuiet } = plan;
  const code = new CaveWriter();
  const { claim, blockAll, ownMask, asFound, glance, ignore } = writeData(code, plan);
  const enter = code.here;
  setMask(code, () => code.own(blockAll));
  const { entered, toEnd, toUnmap } = isQuiet ? enterQuietly(code, plan) : enterLoudly(code, plan, ignore);
  const leave = code.here;
  compareWord(code, claim, CLAIM.forGood);
  code.raw(0x0f, 0x84); // je to the end
  const stays = code.near();
  awaitVisited(
    code,
    claim,
    () => code.ofArea(plan.done),
    () => code.own(glance),
  );
  if (!isQuiet) setAction(code, bell, () => code.ofArea(plan.oldAction), nothing(code));
  for (const here of toUnmap) here();
  unmapArea(code, plan);
  for (const here of [...toEnd, stays]) here();
  const last = code.here;
  setMask(code, () => code.own(ownMask));
  const maskSet = code.here;
  const saved = { mask: ownMask, asFound, ...goBack(code, NO_REGISTERS) };
  const quiet = entered === undefined ? undefined : { entered, ...writeDepart(code, plan, last) };
  const { inCave, inArea } = code;
  return { bytes: code.bytes(), inCave, inArea, enter, leave, quiet, claim, maskSet, saved };
}

/** Writes what the code uses. Returns where it is. */
function writeData(
  code: CaveWriter,
  { bell, isQuiet }: CavePlan,
): Record<'claim' | 'blockAll' | 'ownMask' | 'asFound' | 'glance' | 'ignore', number> {
  code.raw(...CAVE_MARK);
  if (isQuiet) code.patch(QUIET_AT, 1);
  code.ofArea(0);
  const claim = code.here;
  code.imm64(0);
  const blockAll = code.here;
  code.imm64(~(1n << BigInt(bell - 1)));
  const ownMask = code.here;
  code.imm64(0);
  const asFound = writeAsFound(code, NO_REGISTERS);
  const glance = code.here; // struct timeval
  code.imm64(0).imm64(GLANCE);
  const ignore = code.here; // struct sigaction: SIG_IGN, no flags, no restorer, no mask
  if (!isQuiet) code.imm64(1).imm64(0).imm64(0).imm64(0);
  return { claim, blockAll, ownMask, asFound, glance, ignore };
}

const nothing = (code: CodeWriter) => (): void => void code.imm64(0);

/** rt_sigaction(bell, act, old) */
function setAction(code: CodeWriter, bell: number, act: () => void, old: () => void): void {
  call(code, NR.rt_sigaction, (c) => {
    load.edi(c, bell);
    c.raw(0x48, 0xbe); // mov rsi, …
    act();
    c.raw(0x48, 0xba); // mov rdx, …
    old();
    load.r10d(c, 8);
  });
}

function mapArea(code: CaveWriter, { areaLength }: CavePlan): void {
  call(code, NR.mmap, () => {
    code.raw(0x48, 0xbf).ofArea(0); // mov rdi, area
    load.rsi(code, areaLength);
    load.edx(code, 5); // PROT_READ|PROT_EXEC: never writable and executable at once (MDWE, SELinux execmem)
    load.r10d(code, 0x100022); // MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE
    code.raw(0x49, 0xc7, 0xc0).imm32(-1); // mov r8, -1
    code.raw(0x45, 0x31, 0xc9); // xor r9d, r9d
  });
}

/** Compares the result of {@link mapArea} with the errors. Returns the jump to where it goes on if it is one. */
function ifNotMapped(code: CodeWriter): () => void {
  code.raw(0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff); // cmp rax, -4096
  return code.raw(0x0f, 0x87).near(); // ja …
}

function makeWritable(code: CaveWriter, { areaLength, codeLength }: CavePlan): void {
  call(code, NR.mprotect, () => {
    code.raw(0x48, 0xbf).ofArea(codeLength); // mov rdi, area + codeLength
    load.rsi(code, areaLength - codeLength);
    load.edx(code, 3); // PROT_READ|PROT_WRITE
  });
}

function unmapArea(code: CaveWriter, { areaLength }: CavePlan): void {
  call(code, NR.munmap, () => {
    code.raw(0x48, 0xbf).ofArea(0); // mov rdi, area
    load.rsi(code, areaLength);
  });
}

/** The jumps of the way in that are still to be given a target: without an area, and with one that is of no use. */
interface WayIn {
  readonly toEnd: readonly (() => void)[];
  readonly toUnmap: readonly (() => void)[];
  readonly entered: number | undefined;
}

function enterLoudly(code: CaveWriter, plan: CavePlan, ignore: number): WayIn {
  mapArea(code, plan);
  const toEnd = [ifNotMapped(code)];
  const toUnmap: (() => void)[] = [];
  const ifFailed = (): void => {
    code.raw(0x85, 0xc0, 0x0f, 0x85); // test eax, eax; jnz …
    toUnmap.push(code.near());
  };
  makeWritable(code, plan);
  ifFailed();
  setAction(code, plan.bell, nothing(code), () => code.ofArea(plan.oldAction));
  ifFailed();
  setAction(code, plan.bell, () => code.own(ignore), nothing(code));
  return { toEnd, toUnmap, entered: undefined };
}

/** Leaves the result of the last call in rbx, and in r15 how many have not failed. */
function enterQuietly(code: CaveWriter, plan: CavePlan): WayIn {
  code.raw(0x45, 0x31, 0xff); // xor r15d, r15d
  mapArea(code, plan);
  code.raw(0x48, 0x89, 0xc3); // mov rbx, rax
  const toBell = ifNotMapped(code);
  code.raw(0x41, 0xff, 0xc7); // inc r15d
  makeWritable(code, plan);
  code.raw(0x48, 0x89, 0xc3); // mov rbx, rax
  toBell();
  ringBell(code, plan.bell);
  const entered = code.here;
  code.raw(0x45, 0x85, 0xff, 0x0f, 0x84); // test r15d, r15d; jz …
  const toEnd = [code.near()];
  code.raw(0x85, 0xdb, 0x0f, 0x85); // test ebx, ebx; jnz …
  return { toEnd, toUnmap: [code.near()], entered };
}

/** The way out that rings; `last` is where the task's own mask is restored. */
function writeDepart(code: CaveWriter, plan: CavePlan, last: number): Omit<QuietWay, 'entered'> {
  const depart = code.here;
  unmapArea(code, plan);
  const unmapped = code.here;
  ringBell(code, plan.bell);
  const departed = code.here;
  code.raw(0xe9).backNear(last);
  return { depart, unmapped, departed };
}

/**
 * Sleeps until no visited thread uses the area. It sleeps in select(2), which does not use the restart block when it is
 * interrupted: the restart block still belongs to the call the task was in.
 */
function awaitVisited(code: CodeWriter, claim: number, done: () => void, glance: () => void): void {
  const again = code.here;
  compareWord(code, claim, CLAIM.none);
  code.raw(0x74); // je over
  const unclaimed = code.short();
  code.raw(0x48, 0xb8); // mov rax, done
  done();
  code.raw(0x83, 0x38, 0x00, 0x75); // cmp dword [rax], 0; jne over
  const isDone = code.short();
  call(code, NR.select, (c) => {
    c.raw(0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2); // xor edi, edi; … esi, edx, r10d
    c.raw(0x49, 0xb8); // mov r8, glance
    glance();
  });
  code.raw(0xe9).backNear(again);
  unclaimed();
  isDone();
}
