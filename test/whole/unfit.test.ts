/** Programs in which code of ours would do harm are refused, and go on. */
import { expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { helperBinary } from './kit/compile.ts';
import { stasis } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** A program goes on when it says more than before, and nothing of failure. */
async function goesOn(victim: Victim): Promise<void> {
  const before = victim.output().length;
  await until(
    () => (victim.output().length > before + 20 ? true : undefined),
    5000,
    () => `it stands still or is gone: ${victim.output().slice(-200)}`,
  );
  expect(victim.output()).not.toContain('FAIL');
}

async function refusesAndGoesOn(victim: Victim, reason: string): Promise<void> {
  await goesOn(victim);
  const images = join(victim.dir, 'unfit');
  mkdirSync(images);
  const dump = ['dump', '-t', String(victim.pid), '-D', images, '--leave-running'];
  for (const line of [dump, ['exec', '-p', String(victim.pid), 'getpid']]) {
    const { status, stderr } = await stasis(line, { limitMs: 10_000 });
    expect(stderr).toContain(reason);
    expect(status).toBe(1);
    await goesOn(victim);
  }
}

test('a program that catches its own system calls', async () => {
  using victim = await Victim.run([helperBinary('dispatch')]);
  if (victim.output().includes('SKIP')) return;
  await refusesAndGoesOn(victim, 'catches its own system calls');
}, 30_000);

test('a 32-bit program', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-narrow-'));
  const program = join(dir, 'narrow');
  writeFileSync(program, narrowProgram());
  chmodSync(program, 0o755);
  try {
    if ((spawnSync(program, { timeout: 100 }).error as NodeJS.ErrnoException | undefined)?.code === 'ENOEXEC') {
      console.log('skipped, a 32-bit program: this kernel runs none (CONFIG_IA32_EMULATION)');
      return;
    }
    using victim = await Victim.run([program]);
    await refusesAndGoesOn(victim, '32-bit programs are not carried yet');
    const { stdout, stderr } = await stasis(['check', '-t', String(victim.pid)]);
    expect(stdout + stderr).toContain('32-bit programs are not carried yet');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}, 30_000);

/** An ELF of its own, since there may be no 32-bit compiler: for ever nanosleep(10 ms), write(1, "READY\n", 6). */
function narrowProgram(): Uint8Array {
  const base = 0x0804_8000;
  const image = Buffer.alloc(0x400);
  const word = (at: number, ...values: number[]): void => {
    for (const [i, value] of values.entries()) image.writeUInt32LE(value, at + 4 * i);
  };
  const address = (offset: number): number[] => [...new Uint8Array(new Uint32Array([base + offset]).buffer)];
  image.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  word(16, 0x0003_0002, 1, base + 0x100, 52, 0, 0, 0x0020_0034, 1); // ET_EXEC, EM_386, entry, program headers
  word(52, 1, 0, base, base, image.length, image.length, 7, 4096); // PT_LOAD, rwx
  const code = [
    ...[0xb8, 162, 0, 0, 0, 0xbb, ...address(0x300), 0x31, 0xc9, 0xcd, 0x80], // mov eax, ebx; xor ecx, ecx; int 0x80
    ...[0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9, ...address(0x308), 0xba, 6, 0, 0, 0, 0xcd, 0x80],
  ];
  image.set([...code, 0xeb, 256 - code.length - 2], 0x100); // jmp to the beginning
  word(0x300, 0, 10_000_000);
  image.write('READY\n', 0x308);
  return image;
}

test('a program for which cpuid faults', async () => {
  using victim = await Victim.run([helperBinary('faulting')]);
  if (victim.output().includes('SKIP')) return;
  const images = join(victim.dir, 'unfit');
  mkdirSync(images);
  const { status, stderr } = await stasis(['dump', '-t', String(victim.pid), '-D', images], { limitMs: 10_000 });
  expect(stderr).toContain('may not execute the instruction cpuid');
  expect(status).toBe(1);
  await goesOn(victim);
}, 30_000);

test('a process that shares its memory with its parent', async () => {
  using victim = await Victim.run([helperBinary('common')]);
  const child = /child (\d+)/.exec(victim.output())?.[1] ?? '';
  const { status, stdout } = await stasis(['check', '-t', child]);
  expect(stdout).toContain('memory and descriptor table are shared with its parent');
  expect(status).toBe(1);
});
