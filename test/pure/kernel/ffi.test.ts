/** The memory behind an address outlives the system call it was asked for. */
import { expect, test } from 'bun:test';
import { addressOf } from '../../../src/kernel/ffi.ts';
import { syscall } from '../../../src/kernel/syscall.ts';

/** The address of a struct nothing else refers to, as `addressOf(structOf(…))` in the middle of a call leaves it. */
function forgotten(mark: number): number {
  return addressOf(new Uint8Array(new BigUint64Array([BigInt(mark), ~BigInt(mark) & 0xffffn]).buffer));
}

function readWords(address: number): bigint[] {
  const into = new BigUint64Array(2);
  const iovecs = new BigUint64Array([BigInt(addressOf(into)), 16n, BigInt(address), 16n]);
  const at = addressOf(iovecs);
  syscall('process_vm_readv', process.pid, at, 1, at + 16, 1, 0);
  return [...into];
}

test('a struct of which only the address is left survives the garbage collector', () => {
  const rubbish: BigUint64Array[] = [];
  for (let mark = 1; mark <= 50; mark++) {
    const address = forgotten(mark);
    Bun.gc(true);
    for (let i = 0; i < 200; i++) rubbish.push(new BigUint64Array([0n, 0n]), new BigUint64Array(new ArrayBuffer(16)));
    expect(readWords(address)).toEqual([BigInt(mark), ~BigInt(mark) & 0xffffn]);
  }
});
