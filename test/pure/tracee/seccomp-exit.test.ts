/** Which seccomp filters would not let a thread out when Stasis is gone. */
import { expect, test } from 'bun:test';
import { thisArch } from '../../../src/arch/index.ts';
import { NR } from '../../../src/arch/syscall-numbers.ts';
import { runFilter, seccompData } from '../../../src/tracee/bpf.ts';
import { forbidsExit } from '../../../src/tracee/seccomp-exit.ts';

type Instruction = readonly [code: number, jt: number, jf: number, k: number];

const ALLOW = 0x7fff_0000;
const LOG = 0x7ffc_0000;
const TRACE = 0x7ff0_0000;
const NOTIFY = 0x7fc0_0000;
const ERRNO = 0x0005_0000;
const TRAP = 0x0003_0000;
const KILL_THREAD = 0;
const KILL_PROCESS = 0x8000_0000;

function filter(...instructions: readonly Instruction[]): Uint8Array {
  const code = new DataView(new ArrayBuffer(8 * instructions.length));
  instructions.forEach(([op, jt, jf, k], i) => {
    code.setUint16(8 * i, op, true);
    code.setUint8(8 * i + 2, jt);
    code.setUint8(8 * i + 3, jf);
    code.setUint32(8 * i + 4, k, true);
  });
  return new Uint8Array(code.buffer);
}

const loadNr: Instruction = [0x20, 0, 0, 0];
const give = (what: number): Instruction => [0x06, 0, 0, what];
const on = (nr: number, what: number): Instruction[] => [[0x15, 0, 1, nr], give(what)];
/** All calls but some get `rest`. */
const except = (calls: readonly number[], what: number, rest: number): Uint8Array =>
  filter(loadNr, ...calls.flatMap((nr) => on(nr, what)), give(rest));

const data = seccompData(7, 0xc000_003e, 0x7fff_1234_5678, [1, 2, -3, 4, 5, 0x1_0000_0006]);
const run = (...instructions: readonly Instruction[]): number => runFilter(filter(...instructions), data);

test('words of the call', () => {
  const word = (at: number): number => run([0x20, 0, 0, at], [0x16, 0, 0, 0]);
  expect(word(0)).toBe(7);
  expect(word(4)).toBe(0xc000_003e);
  expect(word(8)).toBe(0x1234_5678);
  expect(word(12)).toBe(0x7fff);
  expect(word(32)).toBe(0xffff_fffd);
  expect(word(36)).toBe(0xffff_ffff);
  expect([word(56), word(60)]).toEqual([6, 1]);
});

test('arithmetic is that of 32 bits without a sign', () => {
  const alu = (op: number, a: number, k: number): number => run([0x00, 0, 0, a], [0x04 | op, 0, 0, k], [0x16, 0, 0, 0]);
  expect(alu(0x00, 0xffff_ffff, 2)).toBe(1);
  expect(alu(0x10, 1, 2)).toBe(0xffff_ffff);
  expect(alu(0x20, 0x1_0001, 0x1_0001)).toBe(0x2_0001);
  expect(alu(0x30, 0xffff_ffff, 2)).toBe(0x7fff_ffff);
  expect(alu(0x30, 1, 0)).toBe(0);
  expect(alu(0x40, 0x8000_0000, 1)).toBe(0x8000_0001);
  expect(alu(0x50, 0xf000_0000, 0x9000_0001)).toBe(0x9000_0000);
  expect(alu(0x60, 1, 31)).toBe(0x8000_0000);
  expect(alu(0x70, 0x8000_0000, 31)).toBe(1);
  expect(alu(0x80, 1, 0)).toBe(0xffff_ffff);
  expect(alu(0xa0, 0xffff_ffff, 1)).toBe(0xffff_fffe);
});

test('jumps, memory, and the other register', () => {
  // a = 5; M[3] = a; x = M[3]; a = 9; if (a > x) return a - x
  expect(
    run(
      [0x00, 0, 0, 5],
      [0x02, 0, 0, 3],
      [0x61, 0, 0, 3],
      [0x00, 0, 0, 9],
      [0x2d, 0, 2, 0],
      [0x1c, 0, 0, 0],
      [0x16, 0, 0, 0],
      give(77),
    ),
  ).toBe(4);
  expect(run([0x05, 0, 0, 1], give(1), give(2))).toBe(2);
  expect(run([0x80, 0, 0, 0], [0x07, 0, 0, 0], [0x00, 0, 0, 1], [0x87, 0, 0, 0], [0x16, 0, 0, 0])).toBe(64);
  const compared = (op: number, k: number): number => run(loadNr, [op, 0, 1, k], give(1), give(0));
  expect([compared(0x15, 7), compared(0x25, 6), compared(0x35, 7), compared(0x45, 3)]).toEqual([1, 1, 1, 1]);
  expect([compared(0x15, 8), compared(0x25, 7), compared(0x35, 8), compared(0x45, 8)]).toEqual([0, 0, 0, 0]);
  expect(run([0x00, 0, 0, 1])).toBe(KILL_THREAD); // runs out of its end
});

test('who may not leave', () => {
  const arch = thisArch();
  const forbids = (...filters: readonly Uint8Array[]): boolean => forbidsExit(filters, arch);
  const some = [NR.read, NR.write, NR.exit_group, NR.rt_sigreturn];
  const ours = [NR.rt_sigprocmask, NR.tgkill, NR.getpid, NR.gettid, NR.munmap, NR.rt_sigaction];
  expect(forbids()).toBe(false);
  expect(forbids(filter(give(ALLOW)))).toBe(false);
  expect(forbids(filter(give(LOG)))).toBe(false);
  // A list of what is refused, a list of what is allowed.
  expect(forbids(except([NR.ptrace, NR.mount], KILL_PROCESS, ALLOW))).toBe(false);
  expect(forbids(except(some, ALLOW, KILL_PROCESS))).toBe(true);
  expect(forbids(except(some, ALLOW, KILL_THREAD))).toBe(true);
  expect(forbids(except(some, ALLOW, TRAP))).toBe(true);
  expect(forbids(except(some, ALLOW, NOTIFY))).toBe(true);
  // Refused calls leave something behind, but no thread without its mask.
  expect(forbids(except(some, ALLOW, ERRNO | 1))).toBe(true);
  expect(forbids(except([NR.rt_sigprocmask], ALLOW, ERRNO | 1))).toBe(false);
  expect(forbids(except([NR.rt_sigprocmask], ALLOW, TRACE))).toBe(false);
  expect(forbids(except([NR.rt_sigprocmask], ALLOW, KILL_PROCESS))).toBe(true);
  for (const nr of ours) expect(forbids(except([nr], KILL_PROCESS, ALLOW))).toBe(true);
  // Of several the strictest counts.
  expect(forbids(filter(give(ALLOW)), except([NR.tgkill], KILL_PROCESS, ALLOW), filter(give(LOG)))).toBe(true);
  // Another processor architecture's calls only.
  const otherArch = filter([0x20, 0, 0, 4], [0x15, 1, 0, 0x4000_0003], give(ALLOW), give(KILL_PROCESS));
  expect(forbids(otherArch)).toBe(false);
  // Signal masks, but only to block more.
  const how = filter(
    loadNr,
    [0x15, 0, 3, NR.rt_sigprocmask],
    [0x20, 0, 0, 16],
    [0x15, 1, 0, 0],
    give(KILL_THREAD),
    give(ALLOW),
  );
  expect(forbids(how)).toBe(true);
});
