/** Which limits leave no room for the work area, and the code that lifts them. */
import { expect, test } from 'bun:test';
import { thisArch } from '../../../src/arch/index.ts';
import { capBit, RLIM_INFINITY } from '../../../src/kernel/constants/tasks.ts';
import type { Rlimit } from '../../../src/kernel/proc/limits.ts';
import { type Allowance, headroomObstacles, LIMITS_SIZE, limitsToLift } from '../../../src/tracee/headroom.ts';

const MIB = 1 << 20;
const [DATA, MEMLOCK, AS] = [2, 8, 9];
const ref = { pid: 17 };

function allowance(limits: Readonly<Record<number, readonly [cur: number, max: number]>>, more = {}): Allowance {
  const all = Array.from({ length: 16 }, (_, resource): Rlimit => {
    const [cur, max] = limits[resource] ?? [];
    return cur === undefined || max === undefined
      ? { cur: RLIM_INFINITY, max: RLIM_INFINITY }
      : { cur: BigInt(cur), max: BigInt(max) };
  });
  const status = { vmSize: 8 * MIB, vmData: 4 * MIB, vmLocked: 0, capEff: 0n, seccomp: 0, ...more };
  return { ref, status, limits: all };
}

const resources = (a: Allowance): number[] => limitsToLift(a).map(({ resource }) => resource);

test('limits that are far away are left alone', () => {
  for (const a of [allowance({}), allowance({ [AS]: [9 * MIB, 9 * MIB], [DATA]: [5 * MIB, 5 * MIB] })]) {
    expect(limitsToLift(a)).toEqual([]);
    expect(headroomObstacles(a)).toEqual([]);
  }
});

test('those that are reached are lifted as far as they may be', () => {
  const a = allowance({ [AS]: [8 * MIB, 20 * MIB], [DATA]: [4 * MIB + 4096, 30 * MIB] });
  expect(limitsToLift(a)).toEqual([
    {
      resource: AS,
      own: { cur: BigInt(8 * MIB), max: BigInt(20 * MIB) },
      lifted: { cur: BigInt(20 * MIB), max: BigInt(20 * MIB) },
    },
    {
      resource: DATA,
      own: { cur: BigInt(4 * MIB + 4096), max: BigInt(30 * MIB) },
      lifted: { cur: BigInt(30 * MIB), max: BigInt(30 * MIB) },
    },
  ]);
  expect(headroomObstacles(a)).toEqual([]);
});

test('locked memory counts if some is locked, and the task has no right to more', () => {
  const limits = { [MEMLOCK]: [MIB, 8 * MIB] } as const;
  expect(resources(allowance(limits))).toEqual([]);
  expect(resources(allowance(limits, { vmLocked: MIB }))).toEqual([MEMLOCK]);
  expect(resources(allowance(limits, { vmLocked: MIB, capEff: capBit('IPC_LOCK') }))).toEqual([]);
});

test('what cannot be lifted is an obstacle, with what helps', () => {
  const [hard] = headroomObstacles(allowance({ [AS]: [8 * MIB, 8 * MIB] }));
  expect(hard?.message).toContain('RLIMIT_AS: the process may have 8388608 bytes of memory');
  expect(hard?.remedy).toBe('raise the limit: prlimit --pid 17 --as=8523776');
  const [barred] = headroomObstacles(allowance({ [DATA]: [4 * MIB, 9 * MIB] }, { seccomp: 2 }));
  expect(barred?.message).toContain('because of seccomp it cannot be lifted');
  expect(limitsToLift(allowance({ [AS]: [8 * MIB, 8 * MIB] }))).toEqual([]);
});

test('the code for three limits has room', () => {
  const arch = thisArch();
  const limits = [AS, DATA, MEMLOCK].map((resource) => ({
    resource,
    own: { cur: 0x1122_3344_5566_7788n, max: RLIM_INFINITY },
    lifted: { cur: RLIM_INFINITY, max: RLIM_INFINITY },
  }));
  const address = 0x7fff_f7fc_1000;
  const registers = new BigUint64Array(arch.registerCount).fill(0xffff_ffff_ffff_ffffn);
  const plan = { address, size: LIMITS_SIZE, limits, cave: address + LIMITS_SIZE, registers, mask: 0n };
  const { code, enter } = arch.limitsCode(plan);
  expect(code.length).toBe(LIMITS_SIZE);
  expect(enter).toBeGreaterThan(address);
  expect(enter).toBeLessThan(address + LIMITS_SIZE);
  expect(Buffer.from(code).includes(Buffer.from('8877665544332211', 'hex'))).toBe(true);
});
