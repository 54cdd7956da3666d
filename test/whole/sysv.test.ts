/** System V shared memory of the host's IPC namespace: left behind by the dump, gone since, or in somebody's way. */

import { afterAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownPid } from '../../src/base/brands.ts';
import { IPC } from '../../src/kernel/constants/ipc.ts';
import { parseSysvShm, type SysvSegment } from '../../src/kernel/proc/sysvipc.ts';
import { syscall, trySyscall } from '../../src/kernel/syscall.ts';
import { readMemory, writeMemory } from '../../src/tracee/memory.ts';
import { nothingLeft } from './kit/harm.ts';
import { stasis } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { goOn, Victim } from './kit/victim.ts';

victimSuite('System V shared memory', [{ victim: 'sysv' }, { victim: 'sysvfamily' }]);

/** The keys victims take: 0x55a5, 0x56a5 or 0x57a5, and their process IDs. */
function isVictims(key: number): boolean {
  return ((key >>> 16) & 0xff) === 0xa5 && key >>> 24 >= 0x55 && key >>> 24 <= 0x57;
}

function keyedSegments(): SysvSegment[] {
  return parseSysvShm(readFileSync('/proc/sysvipc/shm')).filter(({ key }) => isVictims(key));
}

/** The segments of a victim that have a key. */
function segmentsOf(victim: Victim): SysvSegment[] {
  return keyedSegments().filter(({ key }) => (key & 0xffff) === (victim.pid & 0xffff));
}

/** What victims that failed have left. */
afterAll(() => remove(keyedSegments().filter(({ attached }) => attached === 0)));

function remove(segments: readonly SysvSegment[]): void {
  for (const { id } of segments) trySyscall('shmctl', id, IPC.RMID, 0);
}

/** A victim and its segments, which do not end with it. */
class Shared implements Disposable {
  readonly victim: Victim;
  constructor(victim: Victim) {
    this.victim = victim;
  }

  static async saved(): Promise<Shared> {
    const shared = new Shared(await Victim.start('sysv'));
    await goOn();
    await shared.victim.dump();
    return shared;
  }

  [Symbol.dispose](): void {
    this.victim[Symbol.dispose]();
    remove(segmentsOf(this.victim));
  }
}

describe('segments', () => {
  test('those that are gone are made again, with their IDs', async () => {
    using shared = await Shared.saved();
    const { victim } = shared;
    const before = segmentsOf(victim);
    expect(before.length).toBeGreaterThanOrEqual(2);
    remove(before);
    await victim.restore();
    const after = segmentsOf(victim);
    const essence = ({ id, key, mode, uid, gid, size }: SysvSegment) => ({ id, key, mode, uid, gid, size });
    expect(after.map(essence)).toEqual(before.map(essence));
    await victim.verdict();
  }, 20_000);

  test('those nobody uses are as they were saved, whatever was done with them', async () => {
    using shared = await Shared.saved();
    const { victim } = shared;
    for (const { id, size } of segmentsOf(victim)) {
      if (size < 1 << 20) scribble(id, size);
    }
    await victim.restore();
    await victim.verdict();
  }, 20_000);

  test('one somebody else uses is left as it is', async () => {
    using shared = await Shared.saved();
    const { victim } = shared;
    const [segment] = segmentsOf(victim).filter(({ size }) => size === 16 * 4096);
    if (!segment) throw new Error('no segment');
    const at = syscall('shmat', segment.id, 0, 0);
    try {
      put(at + 12 * 4096, 9);
      expect((await stasis(victim.restoreLine())).status).toBe(0);
      // Dumped in the middle of its look at the segment, it first notices who else has it attached.
      await victim.waitFor(/^FAIL.*(all_zero|attached, were)/m, 3000);
      expect(readFileSync(join(victim.images, 'restore.log'), 'latin1')).toContain('it is left as it is');
    } finally {
      syscall('shmdt', at);
    }
  }, 20_000);

  test('another one with the same key is in the way; nothing is left of a restore that fails', async () => {
    using shared = await Shared.saved();
    const { victim } = shared;
    const before = segmentsOf(victim);
    remove(before);
    const key = before.at(-1)?.key ?? 0;
    const other = syscall('shmget', key | 0, 4096, IPC.CREAT | IPC.EXCL | 0o600);
    const { status, stderr } = await stasis(victim.restoreLine());
    expect(status).toBe(1);
    expect(stderr).toContain(`ipcrm -m ${other}`);
    await nothingLeft(victim);
    expect(segmentsOf(victim).map(({ id }) => id)).toEqual([other]);
  }, 20_000);

  test('a restore that fails late leaves neither new segments nor new contents', async () => {
    using shared = await Shared.saved();
    const { victim } = shared;
    const [kept, ...gone] = segmentsOf(victim);
    if (!kept) throw new Error('no segment');
    remove(gone);
    scribble(kept.id, kept.size);
    const { status } = await stasis([...victim.restoreLine(), '--action-script', refusing('post-restore')]);
    expect(status).toBe(1);
    await nothingLeft(victim);
    expect(segmentsOf(victim).map(({ id }) => id)).toEqual([kept.id]);
    const at = syscall('shmat', kept.id, 0, 0);
    expect(take(at + kept.size - 1)).toBe(0x5a);
    syscall('shmdt', at);
  }, 20_000);
});

// It is undone when the restored process ends, and not before.
victimSuite('what a process has to undo to semaphores', [
  { victim: 'semaphores', ways: ['restore', 'running', 'cycles', 'again'] },
  { victim: 'semaphores', args: ['OWN'], ignore: [/ns\/ipc/], images: [/_ns_id/, /^ipcns-/] },
]);

/** A script that ends with an error at one point. */
function refusing(point: string): string {
  return `test "$CRTOOLS_SCRIPT_ACTION" != ${point}`;
}

function scribble(id: number, size: number): void {
  const at = syscall('shmat', id, 0, 0);
  for (let page = 0; page < size; page += 4096) put(at + page, 0x5a);
  put(at + size - 1, 0x5a);
  syscall('shmdt', at);
}

/** Writes one byte to an address of ours. */
function put(at: number, value: number): void {
  writeMemory(ownPid(), at, new Uint8Array([value]));
}

function take(at: number): number | undefined {
  return readMemory(ownPid(), at, new Uint8Array(1))[0];
}
