/** A thread's processor state, to the image's message and back. */
import { expect, test } from 'bun:test';
import { X86_64 } from '../../../src/arch/x86-64/x86-64.ts';

const IP = 16;
const AX = 10;
const ORIG_AX = 15;
const EINTR = 4n;

const registers = BigUint64Array.from({ length: X86_64.registerCount }, (_, i) => BigInt(1000 + i));

test('registers come back as they were, outside of any call', () => {
  const back = X86_64.fromImage({ gpregs: X86_64.toImage(registers, undefined) }, undefined);
  expect(back[ORIG_AX]).toBe(0xffff_ffff_ffff_ffffn);
  back[ORIG_AX] = registers[ORIG_AX] ?? 0n;
  expect(back).toEqual(registers);
});

test('an interrupted call is made again, or fails with EINTR', () => {
  const again = X86_64.toImage(registers, { again: 7 });
  expect([again.ax, again.ip]).toEqual([7n, BigInt(1000 + IP - 2)]);
  const failed = X86_64.toImage(registers, { again: undefined });
  expect([failed.ax, failed.ip]).toEqual([2n ** 64n - EINTR, BigInt(1000 + IP)]);
});

test('a call that was made again has its answer', () => {
  const back = X86_64.fromImage({ gpregs: X86_64.toImage(registers, undefined) }, { nr: 35, result: -516 });
  expect([back[ORIG_AX], back[AX]]).toEqual([35n, 2n ** 64n - 516n]);
});

/** A buffer as the kernel gives it: legacy area, header, and AVX where the layout says. */
function stateOf(used: bigint): Uint8Array {
  const state = new Uint8Array(1088);
  const view = new DataView(state.buffer);
  view.setUint32(24, 0x1f80, true);
  for (let at = 576; at < 832; at++) state[at] = at & 0xff;
  view.setBigUint64(464, 0x7n, true);
  view.setBigUint64(512, used, true);
  return state;
}

test('the extended state comes back where this processor has its components', () => {
  const { extendedState } = X86_64;
  const state = stateOf(0x7n);
  const fpregs = extendedState.toImage(state, new Map([[2, { offset: 576, size: 256 }]]));
  const elsewhere = new Map([[2, { offset: 640, size: 256 }]]);
  const { state: back, missing } = extendedState.fromImage({ fpregs }, stateOf(0n), elsewhere);
  expect(missing).toEqual([]);
  expect(back.subarray(640, 896)).toEqual(state.subarray(576, 832));
  expect(extendedState.fromImage({ fpregs }, stateOf(0n), new Map()).missing).toEqual([2]);
});

test('what the message has no field for is told', () => {
  const { extendedState } = X86_64;
  expect(extendedState.exceedsImage(stateOf(0x2ffn))).toBe(false);
  const tiles = stateOf(1n << 18n);
  expect(extendedState.exceedsImage(tiles)).toBe(true);
  expect(extendedState.permission.isUsed(tiles)).toBe(true);
  expect(extendedState.isLike(tiles, stateOf(0n))).toBe(true);
  expect(extendedState.isLike(tiles, tiles.subarray(0, 832))).toBe(false);
});

test('protection keys: between processors with them and without', () => {
  const { extendedState } = X86_64;
  const keys = new Map([[9, { offset: 832, size: 8 }]]);
  const withRights = (rights: number): Uint8Array => {
    const state = stateOf(0x203n);
    new DataView(state.buffer).setUint32(832, rights, true);
    return state;
  };
  const rightsIn = (state: Uint8Array): number => new DataView(state.buffer).getUint32(832, true);
  const saved = (rights: number) => ({ fpregs: extendedState.toImage(withRights(rights), keys) });
  // The rights of a new program are no loss; others are.
  expect(extendedState.fromImage(saved(0x5555_5554), stateOf(3n), new Map()).missing).toEqual([]);
  expect(extendedState.fromImage(saved(0x5555_5550), stateOf(3n), new Map()).missing).toEqual([9]);
  expect(rightsIn(extendedState.fromImage(saved(0x5555_5550), withRights(0x5555_5554), keys).state)).toBe(0x5555_5550);
  // A state without them leaves what the kernel gave the new thread.
  const without = { fpregs: extendedState.toImage(stateOf(3n), new Map()) };
  const { state, missing } = extendedState.fromImage(without, withRights(0x5555_5554), keys);
  expect([missing, rightsIn(state), new DataView(state.buffer).getBigUint64(512, true)]).toEqual([
    [],
    0x5555_5554,
    0x203n,
  ]);
});
