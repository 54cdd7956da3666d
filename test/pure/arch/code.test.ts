/** Machine code has room where it goes; frames of signal handlers are found; programs grow. */

import { expect, test } from 'bun:test';
import { thisArch } from '../../../src/arch/index.ts';
import { NR } from '../../../src/arch/syscall-numbers.ts';
import { NAMES } from '../../../src/arch/x86-64/code.ts';
import { CAVE_SIZE, WAY_OUT_SIZE } from '../../../src/tracee/cave.ts';
import { AREA, Program } from '../../../src/tracee/program.ts';

const arch = thisArch();
const registers = new BigUint64Array(arch.registerCount).fill(0xffff_ffff_ffff_ffffn);
const address = 0x7fff_f7fc_1000;

test.each([false, true])('cave and way out have room, with a quiet bell: %p', (isQuiet) => {
  const cave = arch.cave({
    address,
    area: 0x10_0000,
    areaLength: AREA.length,
    codeLength: AREA.code,
    bell: 16,
    isQuiet,
    oldAction: 0x2_0fc0,
    done: 0x2_0fe0,
    registers,
    mask: 0n,
  });
  expect(cave.code.length).toBeLessThanOrEqual(CAVE_SIZE - WAY_OUT_SIZE);
  expect(cave.quiet !== undefined).toBe(isQuiet);
  for (const place of [cave.enter, cave.leave, cave.claim, ...Object.values(cave.quiet ?? {})]) {
    expect(place).toBeGreaterThan(address);
    expect(place).toBeLessThan(address + cave.code.length);
  }
  // Written by one instruction while others may read it.
  expect(cave.claim % 8).toBe(0);
  const wayOut = arch.wayOut({ address, claim: cave.claim, done: 0x12_0fe0 });
  const { length } = wayOut.code;
  expect(length).toBeLessThanOrEqual(WAY_OUT_SIZE);
  wayOut.set(registers, 0x1234_5678_9abc_def0n);
  expect(wayOut.code.length).toBe(length);
  expect(Buffer.from(wayOut.code).includes(Buffer.from([0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12]))).toBe(true);
  expect(arch.programCode({ kind: 'bell', signal: 16 }).length).toBeLessThan(AREA.code);
});

test('a frame that returns into the cave', () => {
  const stack = new BigUint64Array(64);
  const words = new Uint32Array(stack.buffer);
  const found = (): boolean => arch.returnsInto(words, address, address + CAVE_SIZE);
  expect(found()).toBe(false);
  stack[20] = BigInt(address) + 300n;
  expect(found()).toBe(false);
  stack[21] = 0x246n; // flags
  stack[22] = 0x002b_0000_0000_0033n; // cs, gs, fs, ss
  expect(found()).toBe(true);
  stack[20] = BigInt(address + CAVE_SIZE);
  expect(found()).toBe(false);
});

test('a program grows to what the area holds, and keeps what it has', () => {
  const program = new Program(0x10_0000);
  const places: number[] = [];
  let calls = 0;
  for (; program.fits(1, 8); calls++) {
    places.push(program.data(new Uint8Array(8).fill(calls)));
    program.call('read', calls, -1);
  }
  expect(calls).toBe(1023);
  expect(() => program.call('getpid')).toThrow('too long');
  const entries = program.usedEntries();
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  expect(entries.length).toBe(calls * 64 + 8);
  for (const i of [0, 31, 32, 500, calls - 1]) {
    expect(view.getUint32(64 * i, true)).toBe(NR.read);
    expect(view.getUint32(64 * i + 8, true)).toBe(i);
    expect(view.getBigInt64(64 * i + 16, true)).toBe(-1n);
    expect(program.bytes(places[i] ?? 0, 8)).toEqual(new Uint8Array(8).fill(i));
  }
  expect(view.getUint32(64 * calls, true)).toBe(0xffff_ffff);
  const roomy = new Program(0x10_0000);
  roomy.space(AREA.heap - 8);
  roomy.space(8);
  expect(() => roomy.space(1)).toThrow('too much heap');
  expect(roomy.usedHeap().length).toBe(AREA.heap);
  // What lies behind belongs to the foothold.
  expect(AREA.code + AREA.entries + AREA.heap + 64).toBe(AREA.length);
});

test('calls that are repeated are the same as the first time', () => {
  const known = new Map<string, Uint8Array>();
  const build = (before: number): Uint8Array<ArrayBuffer> => {
    const program = new Program(0x10_0000);
    for (let i = 0; i < before; i++) program.call('getpid');
    const at = program.space(64 * 16);
    program.repeat(known, at, () => {
      for (let i = 0; i < 64; i++) program.call('read', i, at + 16 * i, 16);
    });
    program.call('gettid');
    return Uint8Array.from(program.usedEntries());
  };
  expect(build(0)).toEqual(build(0));
  const later = build(70);
  expect(later).toEqual(build(70));
  expect(later.slice(70 * 64)).toEqual(build(0));
  expect(known.size).toBe(1);
});

test.each([false, true])('what a cave has of its threads is read back, with a quiet bell: %p', (isQuiet) => {
  const asleep = registers.map((_, i) => BigInt(1000 + i));
  const index = (name: string): number => [...NAMES].map(String).indexOf(name);
  asleep[index('orig_ax')] = BigInt(NR.nanosleep);
  asleep[index('ax')] = BigInt.asUintN(64, -516n); // ERESTART_RESTARTBLOCK
  asleep[index('flags')] = 0xa57n; // overflow, carry, and some that nobody changes
  const running = asleep.slice();
  running[index('orig_ax')] = 0xffff_ffff_ffff_ffffn;
  running[index('ax')] = 7n;
  const area = 0x10_0000;
  const wayOutAt = address + CAVE_SIZE - WAY_OUT_SIZE;
  const plan = {
    address,
    area,
    areaLength: AREA.length,
    codeLength: AREA.code,
    bell: 23,
    isQuiet,
    oldAction: 1,
    done: 2,
  };
  const cave = arch.cave({ ...plan, registers: asleep, mask: 0x1234n });
  const wayOut = arch.wayOut({ address: wayOutAt, claim: cave.claim, done: 2 });
  wayOut.set(running, 0x5678n);
  const bytes = new Uint8Array(CAVE_SIZE);
  bytes.set(cave.code);
  bytes.set(wayOut.code, wayOutAt - address);
  const left = arch.readCave(bytes, address, wayOutAt);
  if (!left) throw new Error('it is a cave');
  expect(left).toMatchObject({ area, bell: 23, enter: cave.enter, leave: cave.leave, claim: cave.claim });
  expect(left.quiet).toEqual(cave.quiet);
  expect([left.leader.mask, left.guest.mask, left.guest.enter]).toEqual([0x1234n, 0x5678n, wayOut.enter]);
  // What code of ours changes comes from there; the rest the thread has still.
  const changed = (from: BigUint64Array): BigUint64Array =>
    from.map((value, i) => (/^(bp|sp|r12|r13|cs|ss|[defg]s|[fg]s_base)$/.test(NAMES[i] ?? '') ? value : 1n));
  const readFlags = (words: BigUint64Array): bigint => (words[index('flags')] ?? 0n) & 0x8d5n;
  for (const [saved, was] of [
    [left.leader, asleep],
    [left.guest, running],
  ] as const) {
    const now = saved.registers(changed(was));
    expect(readFlags(now)).toBe(readFlags(was));
    now[index('flags')] = was[index('flags')] ?? 0n;
    expect([...now]).toEqual([...was]);
  }
  bytes[7] = 99; // another version
  expect(arch.readCave(bytes, address, wayOutAt)).toBe(undefined);
});

test('where a task is that sleeps in a call of its program', () => {
  const code = Buffer.from(arch.programCode({ kind: 'bell', signal: 16 }));
  const behind = code.subarray(arch.callReturn - 2);
  expect([...behind.subarray(0, 2)]).toEqual([...arch.syscallInstruction]);
  // mov [r15+56], rax: it stores what the call answers.
  expect([...behind.subarray(2, 6)]).toEqual([0x49, 0x89, 0x47, 0x38]);
});
