/**
 * Protection keys (pkeys(7)): a mapping has one of 16 keys, and a register of each thread (PKRU, which is captured with
 * the others) says what the thread may do with the mappings of each key. A program allocates keys; one more the kernel
 * takes by itself for memory that may only be executed (execute_only_pkey() in arch/x86/mm/pkeys.c).
 */

import { PAGE_SIZE } from '../arch/page-size.ts';
import { StasisError } from '../base/errors.ts';
import type { DumpTask, RestoreTask } from '../contract/contract.ts';
import { PROT } from '../kernel/constants/memory.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { ERRNO, trySyscall } from '../kernel/syscall.ts';
import type { Program } from '../tracee/program.ts';
import type { Mapping } from './space.ts';

/** The keys that can be allocated; 0 is everybody's. Register and kernel have room for 16. */
const ALL: readonly number[] = Array.from({ length: 15 }, (_, i) => i + 1);

/** An address of the kernel's half, where no task has a mapping. */
const NOWHERE = 0xffff_8000_0000_0000n;

/** What images say of a task that uses keys. */
interface Keys {
  /** The keys the program has allocated. */
  readonly allocated: readonly number[];
  /** The key of memory that may only be executed, if there is any such memory. */
  readonly executeOnly?: number;
  /** The keys of all other mappings that have one, by start address in hexadecimal. */
  readonly mappings: Record<string, number>;
}

/** Asks a task which keys it has allocated, and notes them with those of its mappings. */
export function captureKeys(task: DumpTask, program: Program): () => void {
  // Without the line in smaps the processor has no keys.
  if (!task.vmas.some(({ protectionKey }) => protectionKey !== undefined)) return () => {};
  const keyed = task.vmas.filter(({ protectionKey }) => protectionKey);
  // The kernel gives the lowest key that is free, so that most programs need to be asked for the first alone.
  const first = ask(program, keyed.length > 0 ? ALL : [1]);
  return () => {
    let allocated = first(program);
    if (keyed.length === 0 && allocated.length > 0) {
      const { program: second, built } = task.remote.do((more) => ask(more, ALL));
      allocated = built(second);
    }
    if (keyed.length > 0 || allocated.length > 0) task.ownState.protectionKeys = { ...keysOf(keyed, allocated) };
  };
}

/**
 * Whether keys are allocated: pkey_mprotect(2) refuses one that is not with EINVAL, and then finds no mapping (ENOMEM,
 * do_mprotect_pkey() in mm/mprotect.c). Nothing changes.
 */
function ask(program: Program, keys: readonly number[]): (done: Program) => number[] {
  const asked = keys.map((key) => program.attempt('pkey_mprotect', NOWHERE, PAGE_SIZE, PROT.NONE, key));
  return (done) => keys.filter((_, i) => done.result(asked[i] as (typeof asked)[number]) === -ERRNO.ENOMEM);
}

function keysOf(keyed: readonly ProcVma[], allocated: readonly number[]): Keys {
  const mappings: Record<string, number> = {};
  let executeOnly: number | undefined;
  for (const { start, prot, protectionKey = 0 } of keyed) {
    // The kernel's own key does not count as allocated (mm_pkey_is_allocated() in arch/x86/include/asm/pkeys.h).
    if (prot === PROT.EXEC && !allocated.includes(protectionKey)) executeOnly = protectionKey;
    else mappings[start.toString(16)] = protectionKey;
  }
  return { allocated, mappings, ...(executeOnly === undefined ? {} : { executeOnly }) };
}

/**
 * Before the final protections are set: takes keys so that the next the kernel takes is that of memory which may only
 * be executed. On a processor without keys such memory can be read, and needs none.
 * @throws StasisError (conflict) if the program has allocated keys, and this machine has none
 */
export function claimKeys(task: RestoreTask): void {
  const keys = task.ownState.protectionKeys;
  if (!keys) return;
  if (keys.allocated.length > 0) requireKeys(task);
  const program = task.batch.reserve(ALL.length + 1);
  // Those that are taken already, by the kernel or in a parent, are refused.
  for (const _ of ALL) program.attempt('pkey_alloc', 0, 0);
  if (keys.executeOnly !== undefined) program.attempt('pkey_free', keys.executeOnly);
}

function requireKeys({ ref }: RestoreTask): void {
  const key = trySyscall('pkey_alloc', 0, 0);
  if (key > 0) trySyscall('pkey_free', key);
  if (key > 0 || key === -ERRNO.ENOSPC) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'CPU_STATE',
    task: ref,
    resource: 'protection keys',
    reason: 'the program uses them, and this processor has none',
  });
}

/**
 * After the final protections are set: gives the mappings their keys, and gives back the keys that the program does not
 * have. From now on the kernel checks them when the task has it write to these mappings.
 */
export function assignKeys(task: RestoreTask, mappings: readonly Mapping[]): void {
  const keys = task.ownState.protectionKeys;
  if (!keys) return;
  for (const { start, length, entry } of mappings) {
    const key = keys.mappings[start.toString(16)];
    if (key !== undefined) task.batch.call('pkey_mprotect', start, length, entry.prot, key);
  }
  const program = task.batch.reserve(ALL.length);
  for (const key of ALL) if (!keys.allocated.includes(key)) program.attempt('pkey_free', key);
}
