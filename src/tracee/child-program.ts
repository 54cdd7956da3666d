/**
 * Runs a program in a child that shares the memory and descriptors of Stasis. The child executes only the interpreter
 * of programs, no JavaScript. All its signals are blocked, and it has a session of its own, so signals sent to our
 * process group do not reach it.
 */

import { thisArch } from '../arch/index.ts';
import { ownPid } from '../base/brands.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { CLONE, CLONE_ARGS_SIZE } from '../kernel/constants/tasks.ts';
import { SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { readMemory, writeMemory } from './memory.ts';
import { AREA, Program } from './program.ts';
import { withSignalsBlocked } from './signal-mask.ts';

const SHARED = CLONE.VM | CLONE.FILES;
const DATA = PROT.READ | PROT.WRITE;
const STACK = 4096;

export class ChildProgram implements Disposable {
  readonly #area = syscall('mmap', 0, AREA.length + STACK, DATA, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);

  /**
   * A new program, which only has its first call. A failed call that was not added by `attempt` ends the child at once,
   * with exit code 1.
   */
  program(): Program {
    const program = new Program(this.#area);
    program.attempt('setsid');
    return program;
  }

  /**
   * Starts a child that runs a program. Returns its PID. Its end causes no signal. @throws SyscallError
   */
  start(program: Program, flags = 0n): number {
    program.attempt('exit_group', 0);
    const heap = program.usedHeap();
    syscall('mprotect', this.#area, AREA.code, DATA);
    writeMemory(ownPid(), this.#area, thisArch().detachedCode(program.start));
    writeMemory(ownPid(), program.start, program.usedEntries());
    if (heap.length > 0) writeMemory(ownPid(), program.start + AREA.entries, heap);
    // In the child, libc's syscall() returns to the address on top of the child's stack.
    const top = this.#area + AREA.length + STACK - 64;
    writeMemory(ownPid(), top, new Uint8Array(new BigUint64Array([BigInt(this.#area)]).buffer));
    syscall('mprotect', this.#area, AREA.code, PROT.READ | PROT.EXEC);
    return clone(top, SHARED | flags);
  }

  /** Reads the results of a program whose child has ended. */
  fetch(program: Program): void {
    const heap = program.usedHeap();
    readMemory(ownPid(), program.start, program.usedEntries());
    if (heap.length > 0) readMemory(ownPid(), program.start + AREA.entries, heap);
  }

  /** Unmaps the memory of the child, which must have ended. */
  [Symbol.dispose](): void {
    trySyscall('munmap', this.#area, AREA.length + STACK);
  }
}

/** Makes the child with all signals blocked, so that no signal handler of Stasis runs in it. */
function clone(stackTop: number, flags: bigint): number {
  const args = new BigUint64Array(CLONE_ARGS_SIZE.VER0 / 8);
  args[0] = flags;
  args[5] = BigInt(stackTop - 64);
  args[6] = 64n;
  const pid = withSignalsBlocked(() => trySyscall('clone3', args, CLONE_ARGS_SIZE.VER0));
  if (pid < 0) throw new SyscallError('clone3', -pid);
  return pid;
}
