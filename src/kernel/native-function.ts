/** Functions in machine code of our own (arch/), in our own memory. */

import { PAGE_SIZE } from '../arch/page-size.ts';
import { MAP, PROT } from './constants/memory.ts';
import { functionAt, Pins } from './ffi.ts';
import { syscall } from './syscall.ts';

/**
 * A function, `long f(long, long, long)`, of at most a page of machine code. The page stays: it is one for the life of
 * a command.
 * @throws SyscallError
 */
export function nativeFunction(code: Uint8Array): (a: number, b: number, c: number) => number {
  const page = syscall('mmap', 0, PAGE_SIZE, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
  using pins = new Pins();
  const iovecs = new BigUint64Array([pins.address(code), code.length, page, code.length].map(BigInt));
  const at = pins.address(iovecs);
  syscall('process_vm_writev', process.pid, at, 1, at + 16, 1, 0);
  syscall('mprotect', page, PAGE_SIZE, PROT.READ | PROT.EXEC);
  return functionAt(page);
}
