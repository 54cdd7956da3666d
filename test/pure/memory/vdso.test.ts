/** Where the kernel has changed, calls to the old vdso lead to the new one. */

import { expect, test } from 'bun:test';
import { X86_64 } from '../../../src/arch/x86-64/x86-64.ts';
import { ownPid } from '../../../src/base/brands.ts';
import { readProc } from '../../../src/kernel/proc/read.ts';
import { parseSmaps } from '../../../src/kernel/proc/smaps.ts';
import { redirect, vdsoFunctions } from '../../../src/memory/vdso.ts';
import { readMemory } from '../../../src/tracee/memory.ts';

function ownVdso(): Uint8Array {
  const vma = parseSmaps(readProc('self', 'maps')).find(({ name }) => name === '[vdso]');
  if (!vma) throw new Error('no vdso here');
  return readMemory(ownPid(), vma.start, new Uint8Array(vma.end - vma.start));
}

test('every entry point becomes a jump to its namesake', () => {
  const image = ownVdso();
  const functions = vdsoFunctions(image);
  expect([...functions.keys()]).toContain('__vdso_clock_gettime');
  const { image: led, lost } = redirect(image, image, 0x7000_0000, X86_64.jumpCode);
  expect(lost).toEqual([]);
  const view = new DataView(led.buffer);
  for (const offset of functions.values()) {
    expect(view.getUint16(offset, false)).toBe(0x48b8); // mov rax, imm64
    expect(view.getBigUint64(offset + 2, true)).toBe(BigInt(0x7000_0000 + offset));
    expect(view.getUint16(offset + 10, false)).toBe(0xffe0); // jmp rax
  }
});

test('what is no vdso has no functions', () => {
  expect(vdsoFunctions(new Uint8Array(8192)).size).toBe(0);
  expect(vdsoFunctions(ownVdso().subarray(0, 700)).size).toBe(0);
});
