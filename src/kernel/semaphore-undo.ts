/**
 * What a process has to undo to System V semaphores at its end (SEM_UNDO, semop(2)), read from the memory of the
 * kernel: nothing else shows it (ipc/sem.c).
 */
import type { LocalFd } from '../base/brands.ts';
import { kernelBytes, kernelTypes, taskAddress } from './kernel-memory.ts';

/** What is added to the semaphores of an array. */
export interface SemaphoreUndo {
  readonly id: number;
  readonly adjustments: readonly number[];
}

/** The adjustments of a process, and the address of the list they are in, which processes may have in common. */
export interface UndoList {
  readonly address: bigint;
  readonly undo: readonly SemaphoreUndo[];
}

/** More arrays than a process uses. */
const MOST_ARRAYS = 4096;

/**
 * The adjustments of a process that has the descriptor `fd`; `counts` are the numbers of semaphores of the arrays of
 * its namespace, by ID, and `local` is any open descriptor of ours. Undefined if the kernel does not tell.
 */
export function undoOf(
  tid: number,
  fd: number,
  counts: ReadonlyMap<number, number>,
  local: LocalFd,
): UndoList | undefined {
  const types = kernelTypes();
  const [sysvsem, list] = [types?.offsetOf('task_struct', 'sysvsem'), types?.offsetOf('sysv_sem', 'undo_list')];
  const [head, element] = [types?.offsetOf('sem_undo_list', 'list_proc'), types?.offsetOf('sem_undo', 'list_proc')];
  const [semid, semadj] = [types?.offsetOf('sem_undo', 'semid'), types?.offsetOf('sem_undo', 'semadj')];
  const task = taskAddress(tid, fd);
  if (task === undefined || sysvsem === undefined || list === undefined || head === undefined) return undefined;
  if (element === undefined || semid === undefined || semadj === undefined) return undefined;
  const bytes = (address: bigint, length: number): DataView | undefined => {
    const read = kernelBytes(local, address, length);
    return read && new DataView(read.buffer, read.byteOffset, read.byteLength);
  };
  const word = (address: bigint): bigint | undefined => bytes(address, 8)?.getBigUint64(0, true);
  const address = word(task + BigInt(sysvsem + list));
  if (address === undefined) return undefined;
  const undo: SemaphoreUndo[] = [];
  if (address === 0n) return { address, undo };
  const end = address + BigInt(head);
  for (let at = word(end), seen = 0; at !== end; at = word(at), seen++) {
    if (at === undefined || seen === MOST_ARRAYS) return undefined;
    const entry = at - BigInt(element);
    const id = bytes(entry + BigInt(semid), 4)?.getInt32(0, true);
    if (id === undefined) return undefined;
    const count = counts.get(id);
    if (count === undefined) continue; // the array was removed
    // Before 5.17 it is a pointer to what lies behind, and as such it has its own place in the structure.
    const isPointer = types?.sizeOf('sem_undo') === semadj + 8 && semadj % 8 === 0;
    const place = isPointer ? word(entry + BigInt(semadj)) : entry + BigInt(semadj);
    const values = place === undefined ? undefined : bytes(place, 2 * count);
    if (!values) return undefined;
    const adjustments = Array.from({ length: count }, (_, i) => values.getInt16(2 * i, true));
    if (adjustments.some((value) => value !== 0)) undo.push({ id, adjustments });
  }
  return { address, undo };
}
