/**
 * Converts the x86 extended state between the kernel's XSAVE buffer (standard format) and CRIU's message. Pure.
 *
 * The processor says where each component lies (CPUID leaf 0xD, sub-leaf = component); this is never a constant.
 */
import type { StateLayout, StateProgram } from '../arch.ts';
import { ARCH } from './processor.ts';

/** CRIU's message of the extended state, `user_x86_fpregs_entry`, as a plain structure: images/schema/core-x86.ts. */
export interface FpRegisters {
  readonly cwd: number;
  readonly swd: number;
  readonly twd: number;
  readonly fop: number;
  readonly rip: bigint;
  readonly rdp: bigint;
  readonly mxcsr: number;
  readonly mxcsr_mask: number;
  readonly st_space: number[];
  readonly xmm_space: number[];
  readonly padding: number[];
  readonly xsave?: (Words & { readonly xstate_bv: bigint }) | undefined;
}

/** Components that CRIU's image has fields for; `wide`: whether the words of the field have 64 bits. */
const COMPONENTS = [
  { number: 2, field: 'ymmh_space', wide: false },
  { number: 3, field: 'bndreg_state', wide: true },
  { number: 4, field: 'bndcsr_state', wide: true },
  { number: 5, field: 'opmask_reg', wide: true },
  { number: 6, field: 'zmm_upper', wide: true },
  { number: 7, field: 'hi16_zmm', wide: true },
  { number: 9, field: 'pkru', wide: false },
] as const;

/** The component of protection keys, one register, and what every new program has there (`init_pkru_value`). */
const KEYS = 9;
const RIGHTS_AT_FIRST = 0x5555_5554;

/** Bits of xstate_bv that the message can carry: x87, SSE and {@link COMPONENTS}. */
const CARRIED = 0x2ffn;

/** Offset at which the kernel puts XCR0, in the software-reserved bytes of the legacy area. */
const XCR0_AT = 464;
const HEADER_AT = 512;

type Words = { ymmh_space: number[]; pkru: number[] } & Record<
  'bndreg_state' | 'bndcsr_state' | 'opmask_reg' | 'zmm_upper' | 'hi16_zmm',
  bigint[]
>;

/** cpuid(0xD, n) for every component of interest, as calls of a program. */
export function askLayout<Ref>(program: StateProgram<Ref>): () => StateLayout | undefined {
  // Whether the instruction may be executed: it faults in a process that asked for that (4.12, arch_prctl(2)).
  const allowed = program.attempt('arch_prctl', ARCH.GET_CPUID);
  const asked = COMPONENTS.map(({ number }) => ({ number, at: program.askProcessor(0xd, number, allowed) }));
  return () => {
    if (program.result(allowed) === 0) return undefined;
    const layout = new Map<number, { offset: number; size: number }>();
    for (const { number, at } of asked) {
      const view = program.view(at, 16);
      const size = view.getUint32(0, true);
      if (size > 0) layout.set(number, { offset: view.getUint32(4, true), size });
    }
    return layout;
  };
}

export const LAYOUT_REFUSED = {
  code: 'CPUID_FAULTS',
  reason: 'the process may not execute the instruction cpuid (arch_prctl, ARCH_SET_CPUID)',
} as const;

/** How many calls {@link askLayout} adds. */
export const LAYOUT_CALLS = COMPONENTS.length + 1;

/** Whether there is state in use that the message has no field for: AMX tiles. */
export function exceedsImage(state: Uint8Array): boolean {
  return (usedFeatures(state) & ~CARRIED) !== 0n;
}

/** Whether a buffer is laid out as another one, of another processor perhaps. */
export function isLike(state: Uint8Array, other: Uint8Array): boolean {
  return state.length === other.length && enabledFeatures(state) === enabledFeatures(other);
}

/** The features enabled for user space (XCR0), read from the buffer. */
function enabledFeatures(state: Uint8Array): bigint {
  return new DataView(state.buffer, state.byteOffset).getBigUint64(XCR0_AT, true);
}

/** Which components are in use. */
export function usedFeatures(state: Uint8Array): bigint {
  return state.length > HEADER_AT ? new DataView(state.buffer, state.byteOffset).getBigUint64(HEADER_AT, true) : 3n;
}

/** Converts an XSAVE buffer to CRIU's message. */
export function toFpregs(state: Uint8Array, layout: StateLayout): FpRegisters {
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  const legacy = {
    cwd: view.getUint16(0, true),
    swd: view.getUint16(2, true),
    twd: view.getUint16(4, true),
    fop: view.getUint16(6, true),
    rip: view.getBigUint64(8, true),
    rdp: view.getBigUint64(16, true),
    mxcsr: view.getUint32(24, true),
    mxcsr_mask: view.getUint32(28, true),
    st_space: words32(view, 32, 128),
    xmm_space: words32(view, 160, 256),
    padding: [],
  };
  if (state.length <= HEADER_AT) return legacy;
  const words: Words = {
    ymmh_space: [],
    bndreg_state: [],
    bndcsr_state: [],
    opmask_reg: [],
    zmm_upper: [],
    hi16_zmm: [],
    pkru: [],
  };
  for (const { number, field } of COMPONENTS) {
    const place = layout.get(number);
    if (!place || place.offset + place.size > state.length) continue;
    if (field === 'ymmh_space' || field === 'pkru') words[field] = words32(view, place.offset, place.size);
    else words[field] = words64(view, place.offset, place.size);
  }
  return { ...legacy, xsave: { xstate_bv: usedFeatures(state) & CARRIED, ...words } };
}

/**
 * Converts CRIU's message to an XSAVE buffer. `template` is a buffer that the kernel gave for the new task, from which
 * size and features are taken. Components that this processor lacks are reported, and are an error only if they are in
 * use.
 */
export function fromFpregs(
  { fpregs: regs }: { readonly fpregs: FpRegisters },
  template: Uint8Array,
  layout: StateLayout,
): { state: Uint8Array; missing: number[] } {
  const state = template.slice();
  const view = new DataView(state.buffer);
  state.fill(0, 0, XCR0_AT);
  view.setUint16(0, regs.cwd, true);
  view.setUint16(2, regs.swd, true);
  view.setUint16(4, regs.twd, true);
  view.setUint16(6, regs.fop, true);
  view.setBigUint64(8, regs.rip, true);
  view.setBigUint64(16, regs.rdp, true);
  view.setUint32(24, regs.mxcsr, true);
  view.setUint32(28, regs.mxcsr_mask, true);
  put32(view, 32, regs.st_space);
  put32(view, 160, regs.xmm_space);
  if (state.length <= HEADER_AT) return { state, missing: [] };
  state.fill(0, HEADER_AT);
  const { xsave } = regs;
  let present = xsave ? xsave.xstate_bv & 3n : 3n;
  const missing: number[] = [];
  for (const { number, field } of COMPONENTS) {
    const place = layout.get(number);
    const fits = place !== undefined && place.offset + place.size <= state.length;
    if (number === KEYS && fits && (xsave?.pkru.length ?? 0) === 0) {
      // The state is of a processor without protection keys: the thread has the rights of a new one.
      state.set(template.subarray(place.offset, place.offset + place.size), place.offset);
      present |= usedFeatures(template) & (1n << BigInt(KEYS));
      continue;
    }
    const used = xsave && (xsave.xstate_bv >> BigInt(number)) & 1n;
    if (!used) continue;
    const values = xsave[field];
    if (!fits) {
      if (number !== KEYS || values[0] !== RIGHTS_AT_FIRST) missing.push(number);
      continue;
    }
    if (field === 'ymmh_space' || field === 'pkru') put32(view, place.offset, values as number[]);
    else put64(view, place.offset, values as bigint[]);
    present |= 1n << BigInt(number);
  }
  view.setBigUint64(HEADER_AT, present, true);
  return { state, missing };
}

function words32(view: DataView, at: number, size: number): number[] {
  const words: number[] = [];
  for (let offset = 0; offset < size; offset += 4) words.push(view.getUint32(at + offset, true));
  return words;
}

function words64(view: DataView, at: number, size: number): bigint[] {
  const words: bigint[] = [];
  for (let offset = 0; offset < size; offset += 8) words.push(view.getBigUint64(at + offset, true));
  return words;
}

function put32(view: DataView, at: number, values: readonly number[]): void {
  let offset = at;
  for (const value of values) {
    view.setUint32(offset, value, true);
    offset += 4;
  }
}

function put64(view: DataView, at: number, values: readonly bigint[]): void {
  let offset = at;
  for (const value of values) {
    view.setBigUint64(offset, value, true);
    offset += 8;
  }
}
