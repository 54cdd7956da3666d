/** x86-64: the code that enters and leaves threads that are not ours. See foothold.ts and visit.ts. */

import {
  CAVE_MARK,
  type Cave,
  type CavePlan,
  CLAIM,
  type LeftCave,
  type QuietWay,
  type Registers,
  type SavedState,
  type WayOut,
  type WayOutPlan,
} from '../arch.ts';
import { CodeWriter } from '../assemble.ts';
import { layoutFor, QUIET_AT, type Written } from './cave-layout.ts';
import { AX, FLAGS, IP, interrupted, ORIG_AX, word } from './code.ts';
import {
  compareWord,
  goBack,
  NO_REGISTERS,
  putSaved,
  RESTORED,
  type SavedPlaces,
  setMask,
  writeAsFound,
} from './exit-code.ts';

/**
 * The cave: straight-line code that maps the work area and restores everything. `enter` runs on into `leave`, so a task
 * whose tracer died at any instruction restores its own registers and goes on where it was.
 *
 * If the bell is ignored anyway, `enter` rings it when it has come to its end, with the outcome in rbx, and there is
 * `depart`, which unmaps the area and rings. So each of the two takes one stop. Without a tracer the bell does nothing.
 */
export function cave(plan: CavePlan): Cave & Written {
  const layout = layoutFor(plan);
  const { address, area } = plan;
  const code = layout.bytes.slice();
  const view = new DataView(code.buffer);
  const base = BigInt(address);
  for (const [at, offset] of layout.inCave) view.setBigUint64(at, base + offset, true);
  const start = BigInt(area);
  for (const [at, offset] of layout.inArea) view.setBigUint64(at, start + offset, true);
  putSaved(view, layout.saved, plan.registers, plan.mask);
  const { enter, leave, claim, maskSet } = layout;
  return {
    code,
    enter: address + enter,
    leave: address + leave,
    quiet: layout.quiet && movedWay(layout.quiet, address),
    claim: address + claim,
    maskSet: address + maskSet,
    saved: moved(layout.saved, address),
  };
}

/** Places in code that was made for address 0, where it is at another one. */
function moved({ mask, asFound, flags, registers, ip }: SavedPlaces, by: number): SavedPlaces {
  const there = registers.map((place) => place + by);
  return { mask: mask + by, asFound: asFound + by, flags: flags + by, registers: there, ip: ip + by };
}

/**
 * The exit code of a visited thread. While the claim stands, the area stays mapped until the thread has set `done`.
 * Without the claim the area may be unmapped already, so it is not touched.
 */
export function wayOut(plan: WayOutPlan): WayOut & { readonly saved: SavedPlaces } {
  const code = new CodeWriter(plan.address);
  const ownMask = code.here;
  code.imm64(0);
  const asFound = writeAsFound(code, NO_REGISTERS);
  const enter = code.here;
  compareWord(code, plan.claim, CLAIM.none);
  code.raw(0x74); // je unclaimed
  const unclaimed = code.short();
  code.raw(0x48, 0xb8).imm64(plan.done).raw(0xc7, 0x00).imm32(1); // mov rax, done; mov dword [rax], 1
  unclaimed();
  setMask(code, () => void code.imm64(ownMask));
  const saved = { mask: ownMask, asFound, ...goBack(code, NO_REGISTERS) };
  const bytes = code.bytes();
  const view = new DataView(bytes.buffer);
  const places = moved(saved, -plan.address);
  const set = (registers: Registers, mask: bigint): void => putSaved(view, places, registers, mask);
  return { code: bytes, enter, saved, set };
}

function movedWay({ entered, depart, unmapped, departed }: QuietWay, by: number): QuietWay {
  return { entered: entered + by, depart: depart + by, unmapped: unmapped + by, departed: departed + by };
}

/** Reads a cave that somebody else has written at `address`, with the way out of a visited thread `wayOutAt` in it. */
export function readCave(bytes: Uint8Array, address: number, wayOutAt: number): LeftCave | undefined {
  if (!CAVE_MARK.every((byte, i) => i === QUIET_AT || bytes[i] === byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const area = Number(view.getBigUint64(CAVE_MARK.length, true));
  // The values in the code do not change its length, so that one written for nobody tells where they are.
  const nobody = { registers: NO_REGISTERS, mask: 0n, bell: 1 };
  const isQuiet = bytes[QUIET_AT] === 1;
  const like = cave({ ...nobody, isQuiet, address, area, areaLength: 0, codeLength: 0, oldAction: 0, done: 0 });
  const guest = wayOut({ address: wayOutAt, claim: like.claim, done: 0 });
  return {
    area,
    bell: bellOf(view.getBigUint64(like.claim + 8 - address, true)),
    enter: like.enter,
    leave: like.leave,
    quiet: like.quiet,
    maskSet: like.maskSet,
    claim: like.claim,
    leader: readSaved(view, address, like.saved),
    guest: { ...readSaved(view, address, guest.saved), enter: guest.enter },
  };
}

/** The one signal that a mask does not block. */
function bellOf(mask: bigint): number {
  return BigInt.asUintN(64, ~mask).toString(2).length;
}

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
