/**
 * Programs run detached: by a child of ours that shares our memory and our descriptors, but neither our session nor our
 * signals.
 *
 * For what must not be left half done. We may be killed at any instant; the child, in a session of its own, still comes
 * to the end of its program, and so undoes what it began with.
 */

import { thisArch } from '../arch/index.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import { StasisError } from '../base/errors.ts';
import { arenaAddress, arenaView, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { readMemory, writeMemory } from './memory.ts';
import { AREA, Program } from './program.ts';

/** CLONE_VM | CLONE_FILES | CLONE_VFORK: we wait, and meanwhile share memory and descriptors. */
const FLAGS = 0x100 | 0x400 | 0x4000;
/** struct clone_args up to stack_size. */
const CLONE_ARGS = 64;
const WALL = 0x4000_0000;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
const SIG_SETMASK = 2;
const STACK = PAGE_SIZE;

export class DetachedProcess implements Disposable {
  readonly #area: number;

  constructor() {
    this.#area = syscall('mmap', 0, AREA.length + STACK, 3, 0x22, -1, 0);
  }

  /** An empty program. All of its calls are attempts: a failed one that is not tolerated would end in a trap. */
  program(): Program {
    const program = new Program(this.#area);
    // What is sent to all of our process group or session is not for the child.
    program.attempt('setsid');
    return program;
  }

  /** Runs a program to its end; its results can then be read. @throws StasisError */
  run(program: Program): Program {
    program.attempt('exit_group', 0);
    const entries = program.usedEntries();
    const heap = program.usedHeap();
    syscall('mprotect', this.#area, AREA.code, 3);
    writeMemory(process.pid, this.#area, thisArch().detachedCode(program.start));
    writeMemory(process.pid, program.start, entries);
    if (heap.length > 0) writeMemory(process.pid, program.start + AREA.entries, heap);
    // libc's syscall() returns in the child, to the address on top of its stack.
    const top = this.#area + AREA.length + STACK - 64;
    writeMemory(process.pid, top, new Uint8Array(new BigUint64Array([BigInt(this.#area)]).buffer));
    syscall('mprotect', this.#area, AREA.code, 5);
    bury(clone(top));
    readMemory(process.pid, program.start, entries);
    if (heap.length > 0) readMemory(process.pid, program.start + AREA.entries, heap);
    return program;
  }

  [Symbol.dispose](): void {
    trySyscall('munmap', this.#area, AREA.length + STACK);
  }
}

/** Answers the child's PID when it has ended. All signals are blocked, so that no handler of ours runs in the child. */
function clone(stackTop: number): number {
  const args = new BigUint64Array(CLONE_ARGS / 8);
  args[0] = BigInt(FLAGS);
  args[5] = BigInt(stackTop - 64);
  args[6] = 64n;
  arenaView.setBigUint64(0, ALL_SIGNALS, true);
  syscall('rt_sigprocmask', SIG_SETMASK, arenaAddress, arenaAddress + 8, 8);
  const pid = trySyscall('clone3', args, CLONE_ARGS);
  syscall('rt_sigprocmask', SIG_SETMASK, arenaAddress + 8, 0, 8);
  if (pid < 0) throw new SyscallError('clone3', -pid);
  return pid;
}

function bury(pid: number): void {
  syscall('wait4', pid, arenaAddress, WALL, 0);
  const status = arenaView.getInt32(0, true);
  if (status !== 0) throw new StasisError({ kind: 'internal', reason: `a detached program ended with ${status}` });
}
