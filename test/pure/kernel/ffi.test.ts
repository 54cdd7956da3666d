/** Buffers the kernel is given stay where they are, and alive, for as long as their owner says. */

import { expect, test } from 'bun:test';
import { ownPid } from '../../../src/base/brands.ts';
import * as ffi from '../../../src/kernel/ffi.ts';
import { PinnedBuffer, Pins } from '../../../src/kernel/ffi.ts';
import { syscall } from '../../../src/kernel/syscall.ts';
import { readMemory } from '../../../src/tracee/memory.ts';

function wordsOf(mark: number): bigint[] {
  return [BigInt(mark), ~BigInt(mark) & 0xffffn];
}

/** What lies at an address of ours, whoever owns it. */
function readWords(address: number): bigint[] {
  return [...new BigUint64Array(readMemory(ownPid(), address, new Uint8Array(16)).buffer as ArrayBuffer)];
}

/** Makes the collector free what it can, and uses the memory again. */
function churn(): void {
  const rubbish: BigUint64Array[] = [];
  Bun.gc(true);
  for (let i = 0; i < 500; i++) rubbish.push(new BigUint64Array([0n, 0n]), new BigUint64Array(new ArrayBuffer(16)));
}

test('no address of a buffer is to be had but from an owner', () => {
  expect(Object.keys(ffi).sort()).toEqual(['PinnedBuffer', 'Pins', 'functionAt', 'rawSyscall']);
});

test('buffers of which only the address is left survive the garbage collector, however many', () => {
  using pins = new Pins();
  const addresses = Array.from({ length: 300 }, (_, i) => pins.address(new BigUint64Array(wordsOf(i))));
  for (let round = 0; round < 10; round++) churn();
  addresses.forEach((address, i) => {
    expect(readWords(address)).toEqual(wordsOf(i));
  });
});

test('what has been pinned is freed after its scope, and not before', () => {
  const seen: WeakRef<object>[] = [];
  const alive = (): number => seen.filter((one) => one.deref() !== undefined).length;
  const pins = new Pins();
  for (let i = 0; i < 100; i++) seen.push(remembered(pins));
  // A WeakRef that was made or asked keeps its target until the end of the turn: only what follows an await tells.
  return Promise.resolve()
    .then(turn)
    .then(() => expect(alive()).toBe(100))
    .then(turn)
    .then(() => pins[Symbol.dispose]())
    .then(turn)
    .then(() => expect(alive()).toBeLessThan(20));
});

function remembered(pins: Pins): WeakRef<object> {
  const view = new Uint8Array(4096);
  pins.address(view);
  return new WeakRef(view);
}

function turn(): Promise<void> {
  return new Promise((resolve) =>
    setTimeout(() => {
      churn();
      resolve();
    }, 1),
  );
}

test('a pinned buffer does not move when its memory is asked for', () => {
  using pins = new Pins();
  const small = new Uint8Array(16);
  const address = pins.address(small);
  new DataView(small.buffer).setBigUint64(0, 77n, true);
  small.subarray(8)[0] = 5;
  expect(readWords(address)).toEqual([77n, 5n]);
});

test('a buffer that stands is held without its owner', () => {
  const addresses = Array.from({ length: 100 }, (_, i) => new PinnedBuffer(new BigUint64Array(wordsOf(i))).address);
  for (let round = 0; round < 5; round++) churn();
  addresses.forEach((address, i) => {
    expect(readWords(address)).toEqual(wordsOf(i));
  });
});

test('a buffer is an argument: the kernel gets its address, of an empty one none', () => {
  const pair = new Int32Array(2);
  syscall('pipe2', pair, 0o2000000);
  const [read = -1, write = -1] = pair;
  expect(syscall('write', write, new Uint8Array([1, 2, 3, 4]).subarray(1), 3)).toBe(3);
  expect(syscall('write', write, new Uint8Array(), 0)).toBe(0);
  const into = new Uint8Array(8);
  expect(syscall('read', read, into.subarray(4), 4)).toBe(3);
  expect([...into]).toEqual([0, 0, 0, 0, 2, 3, 4, 0]);
  syscall('close', read);
  syscall('close', write);
});
