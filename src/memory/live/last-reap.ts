/**
 * What becomes of a dead copy (copy.ts) when Stasis is killed: only its maker can reap it. So a guard stands by, and
 * has the main thread of the maker call wait4(2). If Stasis is killed before it knows the number of the copy, that is
 * any child without SIGCHLD, provided that there was none before.
 *
 * The thread is stopped wherever it is, makes the call at a `syscall` instruction of its vdso, with all signals
 * blocked, and gets its registers and its mask back. A call that this interrupts goes on, but for those that the kernel
 * ends with EINTR at any stop (signal(7)).
 */
import type { Registers } from '../../arch/arch.ts';
import { thisArch } from '../../arch/index.ts';
import { NR } from '../../arch/syscall-numbers.ts';
import { type HostPid, type LocalFd, ownPid, type TaskAddress } from '../../base/brands.ts';
import { EFD, O, POLL } from '../../kernel/constants/files.ts';
import { NT_PRSTATUS, W } from '../../kernel/constants/ptrace.ts';
import { ALL_SIGNALS, SIG } from '../../kernel/constants/signals.ts';
import type { Word } from '../../kernel/ffi.ts';
import { Pollfd } from '../../kernel/layouts/files.ts';
import { openPidfd } from '../../kernel/pidfd.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { Fd, syscall } from '../../kernel/syscall.ts';
import { Guard } from '../../tracee/guard.ts';
import { tryReadMemory, writeMemory } from '../../tracee/memory.ts';
import { Indirect, type Program, type Ref } from '../../tracee/program.ts';
import { PTRACE, PTRACE_O } from '../../tracee/ptrace.ts';

/** Milliseconds that the guard waits for the end of the copy, and for one that it does not know. */
const PATIENCE = 60_000;
const BLIND_PATIENCE = 100;
/** Milliseconds until a thread has left code of ours. */
const LEAVING = 30;
/** The status of a thread that stands where PTRACE_INTERRUPT has stopped it: PTRACE_EVENT_STOP with SIGTRAP. */
const INTERRUPTED = (128 << 16) | (SIG.TRAP << 8) | 0x7f;

/** A place in the vdso of a task, and what is there. */
interface CallPlace {
  readonly at: TaskAddress;
  readonly code: bigint;
}

/** A `syscall` instruction in the vdso; undefined if there is none. */
function findCall(pid: HostPid, vmas: readonly ProcVma[]): CallPlace | undefined {
  const vdso = vmas.find(({ name }) => name === '[vdso]');
  if (!vdso) return undefined;
  const image = Buffer.alloc(vdso.end - vdso.start);
  if (tryReadMemory(pid, vdso.start, image) !== image.length) return undefined;
  const at = image.indexOf(thisArch().syscallInstruction);
  return at < 0 || at + 8 > image.length ? undefined : { at: vdso.start + at, code: image.readBigInt64LE(at) };
}

export class LastReap implements Disposable {
  readonly #guard: Guard;
  readonly #words: Words;
  /** What the guard watches: a descriptor that never becomes readable, and then that of the copy. */
  readonly #watched: Fd;

  private constructor(guard: Guard, words: Words, watched: Fd) {
    this.#guard = guard;
    this.#words = words;
    this.#watched = watched;
  }

  /**
   * Has a guard stand by, before there is a copy: {@link watch} says which one it is. `options` are the PTRACE_O_* with
   * which the maker can be entered; `isOnly` says that the maker has no other child without SIGCHLD. Undefined if the
   * maker has no vdso. @throws SyscallError
   */
  static prepare(maker: HostPid, vmas: readonly ProcVma[], options: number, isOnly: boolean): LastReap | undefined {
    const place = findCall(maker, vmas);
    if (!place) return undefined;
    const watched = new Fd(syscall('eventfd2', 0, EFD.CLOEXEC));
    let words: Words = { patience: 0, number: 0, isWanted: 0 };
    try {
      const guard = new Guard((plan) => {
        words = addReap(plan, watched.number, maker, place, options, isOnly);
      }, watched.number);
      return new LastReap(guard, words, watched);
    } catch (error) {
      watched[Symbol.dispose]();
      throw error;
    }
  }

  /** Says which copy there is; `number` is its number in the PID namespace of its maker. */
  watch(copy: HostPid, number: number): void {
    using pidfd = openPidfd(copy);
    setWord(this.#words.number, number);
    syscall('dup3', pidfd.number, this.#watched.number, O.CLOEXEC);
    setWord(this.#words.patience, PATIENCE);
    setWord(this.#words.isWanted, 1);
  }

  /** Ends the guard. */
  [Symbol.dispose](): void {
    this.#guard[Symbol.dispose]();
    this.#watched[Symbol.dispose]();
  }
}

/** Where the guard has words in our memory. */
interface Words {
  /** Milliseconds to wait for the end of the copy. */
  readonly patience: number;
  /** The number of the copy; {@link ANY} before it is known. */
  readonly number: number;
  /** 1 if there is something to do. */
  readonly isWanted: number;
}

function setWord(address: number, value: number): void {
  writeMemory(ownPid(), address, new Uint8Array(BigInt64Array.of(BigInt(value)).buffer));
}

/** Stands for the number of any child. */
const ANY = -1;

/** Adds the calls of the guard. One that fails ends the plan, and the kernel lets the thread go. */
function addReap(
  plan: Program,
  copy: LocalFd,
  maker: HostPid,
  { at, code }: CallPlace,
  options: number,
  isOnly: boolean,
): Words {
  const arch = thisArch();
  const trace = (request: number, address: Word = 0, data: Word = 0): Ref =>
    plan.call('ptrace', request, maker, address, data);
  const bytes = (words: BigUint64Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  const iovec = (address: number, length: number): number =>
    plan.data(bytes(BigUint64Array.of(BigInt(address), BigInt(length))));
  const status = plan.space(8);
  const awaitStop = (): Ref => plan.call('wait4', maker, status, W.ALL, 0);
  const size = 8 * arch.registerCount;
  const [found, mask, there] = [plan.space(size), plan.space(8), plan.space(8)];
  const patience = plan.data(bytes(BigUint64Array.of(BigInt(BLIND_PATIENCE))));
  const isWanted = plan.data(bytes(BigUint64Array.of(isOnly ? 1n : 0n)));
  plan.expect(new Indirect(isWanted), 1);
  plan.call('poll', plan.data(Pollfd.encode({ fd: copy, events: POLL.IN })), 1, new Indirect(patience));
  // If we died in the middle of something, the thread leaves our code first, and takes our signal.
  plan.attempt('poll', 0, 0, LEAVING);
  trace(PTRACE.SEIZE, 0, PTRACE_O.TRACESYSGOOD | options);
  trace(PTRACE.INTERRUPT);
  awaitStop();
  // Anything else, such as a signal on its way, is left alone.
  plan.expect(new Indirect(status), INTERRUPTED);
  // It may have executed another program meanwhile.
  plan.call('process_vm_readv', maker, iovec(there, 8), 1, iovec(at, 8), 1, 0);
  plan.expect(new Indirect(there), code);
  trace(PTRACE.GETREGSET, NT_PRSTATUS, iovec(found, size));
  trace(PTRACE.GETSIGMASK, 8, mask);
  trace(PTRACE.SETSIGMASK, 8, plan.data(bytes(BigUint64Array.of(ALL_SIGNALS))));
  const work = plan.space(size);
  trace(PTRACE.GETREGSET, NT_PRSTATUS, iovec(work, size));
  const words = wordsOfCall(at);
  const values = plan.data(bytes(BigUint64Array.from(words, ([, value]) => value)));
  const places = plan.data(bytes(BigUint64Array.from(words.flatMap(([index]) => [BigInt(work + 8 * index), 8n]))));
  const self = plan.call('getpid');
  plan.call('process_vm_readv', self, places, words.length, iovec(values, 8 * words.length), 1, 0);
  trace(PTRACE.SETREGSET, NT_PRSTATUS, iovec(work, size));
  // Entry and exit of the call.
  for (let stops = 0; stops < 2; stops++) {
    trace(PTRACE.SYSCALL);
    awaitStop();
  }
  // A stop after which the kernel restarts a call that was interrupted.
  trace(PTRACE.INTERRUPT);
  trace(PTRACE.CONT);
  awaitStop();
  trace(PTRACE.SETSIGMASK, 8, mask);
  trace(PTRACE.SETREGSET, NT_PRSTATUS, iovec(found, size));
  trace(PTRACE.DETACH);
  const number = values + 8 * words.findIndex(([, value]) => value === BigInt.asUintN(64, BigInt(ANY)));
  return { patience, number, isWanted };
}

/** The registers that differ when a thread calls wait4(ANY, NULL, WNOHANG | __WCLONE, NULL), by their index. */
function wordsOfCall(at: TaskAddress): (readonly [index: number, value: bigint])[] {
  const arch = thisArch();
  const before: Registers = new BigUint64Array(arch.registerCount).fill(MARK);
  const after = arch.oneCall(before, at, NR.wait4, [ANY, 0, W.NOHANG | W.CLONE, 0]);
  return [...after].flatMap((value, index) => (value === MARK ? [] : [[index, value] as const]));
}

/** The value of no register. */
const MARK = 0x5354_4153_4953_0001n;
