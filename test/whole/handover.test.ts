/** Descriptors handed over to a task: under the numbers the kernel gave them, all of them or an error. */
import { expect, test } from 'bun:test';
import { readlinkSync } from 'node:fs';
import { StasisError } from '../../src/base/errors.ts';
import { Fd, syscall } from '../../src/kernel/syscall.ts';
import { Batch } from '../../src/tracee/batch.ts';
import { findGap } from '../../src/tracee/gap.ts';
import { closeAll, handOver } from '../../src/tracee/handover.ts';
import { AREA } from '../../src/tracee/program.ts';
import { Seed } from '../../src/tracee/seed.ts';

const O_CLOEXEC = 0o2000000;
const RLIMIT_NOFILE = 7;

/** A process of one page whose socket has number `socket`, and no other descriptor. */
function makeSeed(socket: number): { seed: Seed; batch: Batch } {
  const taken = new Set(Array.from({ length: socket }, (_, fd) => fd));
  const seed = Seed.create({ pid: undefined, sibling: false, taken }, findGap([], AREA.length));
  const batch = new Batch(seed.remote);
  closeAll(seed, batch);
  batch.flush();
  return { seed, batch };
}

/** Pipes of ours, so that each is another file; disposed of together. */
function pipes(count: number): Fd[] {
  const numbers = new Int32Array(2);
  return Array.from({ length: count / 2 }, () => {
    syscall('pipe2', numbers, O_CLOEXEC);
    return [...numbers].map((number) => new Fd(number));
  }).flat();
}

function linkOf(pid: number | 'self', fd: number): string {
  return readlinkSync(`/proc/${pid}/fd/${fd}`);
}

/** Hands over `count` files and checks that the numbers answered are those the files have. */
function check(seed: Seed, batch: Batch, count: number): number[] {
  const files = pipes(count);
  const arrived = handOver(
    seed,
    batch,
    files.map(({ number }) => number),
  );
  expect(arrived.map((fd) => linkOf(seed.tracee.pid, fd))).toEqual(files.map(({ number }) => linkOf('self', number)));
  for (const file of files) file[Symbol.dispose]();
  return arrived;
}

test('several lots arrive in order, around the socket', () => {
  const { seed, batch } = makeSeed(100);
  using _ = seed;
  const arrived = check(seed, batch, 600);
  expect(new Set(arrived).size).toBe(600);
  expect(arrived).not.toContain(seed.socketTarget);
});

test('the numbers are those the kernel gave, whatever else the task has open', () => {
  const { seed, batch } = makeSeed(20);
  using _ = seed;
  for (const fd of [0, 2, 3, 7]) batch.call('dup3', seed.socketTarget, fd, 0);
  expect(check(seed, batch, 8)).toEqual([1, 4, 5, 6, 8, 9, 10, 11]);
  expect(check(seed, batch, 2)).toEqual([12, 13]);
});

test('a task that may not have so many is named, and how many arrived', () => {
  const { seed, batch } = makeSeed(20);
  using _ = seed;
  const program = batch.reserve(1, 16);
  program.call('prlimit64', 0, RLIMIT_NOFILE, program.data(new Uint8Array(new BigUint64Array([5n, 4096n]).buffer)), 0);
  const files = pipes(8);
  const attempt = (): number[] =>
    handOver(
      seed,
      batch,
      files.map(({ number }) => number),
    );
  expect(attempt).toThrow(StasisError);
  expect(attempt).toThrow(`task ${seed.tracee.pid}: RLIMIT_NOFILE: of 8 descriptors`);
  for (const file of files) file[Symbol.dispose]();
});
