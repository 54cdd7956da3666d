/**
 * x86-64: code that raises resource limits before a cave is entered and restores them after it. See tracee/headroom.ts.
 */
import { LIMITS_MARK, type LimitsPlan } from '../arch.ts';
import { CodeWriter } from '../assemble.ts';
import { call, jumpTo, load } from './code.ts';
import { goBack, setMask } from './exit-code.ts';
import { NR_X86_64 as NR } from './syscall-numbers.ts';

/** struct rlimit64. */
const LIMIT = 16;

/**
 * Two pieces of straight-line code. The first, `enter`, goes on to the cave; the second, at the very start, is where
 * the cave leads to, and goes to where the task was. Their data, mask and limits, lie at the end.
 */
export function limitsCode({ address, size, limits, cave, registers, mask }: LimitsPlan): {
  code: Uint8Array;
  enter: number;
} {
  const data = address + size - LIMITS_MARK.length - 8 - 2 * LIMIT * limits.length;
  const ownAt = (i: number): number => data + 8 + 2 * LIMIT * i;
  const code = new CodeWriter(address);
  const setLimits = (at: (i: number) => number): void =>
    limits.forEach(({ resource }, i) => {
      call(code, NR.prlimit64, (c) => {
        c.raw(0x31, 0xff); // xor edi, edi
        load.esi(c, resource);
        load.rdx(c, at(i));
        c.raw(0x45, 0x31, 0xd2); // xor r10d, r10d
      });
    });
  setLimits(ownAt);
  setMask(code, () => void code.imm64(data));
  goBack(code, registers);
  const enter = code.here;
  setLimits((i) => ownAt(i) + LIMIT);
  jumpTo(code, cave);
  const bytes = new Uint8Array(size);
  const used = code.bytes();
  if (address + used.length > data) throw new RangeError('the code that lifts limits has no room');
  bytes.set(used);
  const view = new DataView(bytes.buffer);
  const values = limits.flatMap(({ own, lifted }) => [own.cur, own.max, lifted.cur, lifted.max]);
  [mask, ...values].forEach((value, i) => {
    view.setBigUint64(data - address + 8 * i, value, true);
  });
  bytes.set(LIMITS_MARK, size - LIMITS_MARK.length);
  return { code: bytes, enter };
}
