/**
 * A helper process for bulk work. Two processors copy memory faster than one: the helper runs remote programs while
 * Stasis copies other parts with its own system calls.
 */
import { thisArch } from '../arch/index.ts';
import type { LocalFd } from '../base/brands.ts';
import { logDebug } from '../base/log.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { Batch } from './batch.ts';
import { closeAll, handOver } from './handover.ts';
import { writeMemory } from './memory.ts';
import type { Program, Ref } from './program.ts';
import type { Remote } from './remote.ts';
import type { Seed } from './seed.ts';
import { SEEDS } from './seeds.ts';

/** The amount of work in bytes from which on starting a helper process pays off. */
export const WORTH_A_HELPER = 32 << 20;

/**
 * Adds the calls for a lot to a program and returns a function that handles their results; undefined if the program has
 * no room.
 */
export type RemoteWork<Lot> = (program: Program, lot: Lot) => ((results: Program) => void) | undefined;

/** Room for machine code. */
const CODE = 4096;

/** Most lots given to the other process at once. */
const MOST_LOTS = 32;

/**
 * Does work in lots, some in Stasis (`locally`), some in a task that runs at the same time. Whichever is free takes the
 * next lots. The other task gets several at once, since Stasis checks on it only between two lots of its own.
 */
export function shareOut<Lot>(
  lots: readonly Lot[],
  remote: Remote,
  remotely: RemoteWork<Lot>,
  locally: (lot: Lot) => void,
): void {
  let collect: (() => void) | undefined;
  for (let next = 0; next < lots.length; ) {
    if (collect && !remote.ended()) {
      locally(lots[next++] as Lot); // next < length
      continue;
    }
    collect?.();
    // The shares become smaller towards the end, so that both finish at the same time.
    const share = lots.slice(next, next + Math.min(MOST_LOTS, Math.ceil((lots.length - next) / 4)));
    const program = remote.program();
    const readers: ((results: Program) => void)[] = [];
    for (const lot of share) {
      const reader = remotely(program, lot);
      if (!reader) break;
      readers.push(reader);
    }
    next += readers.length;
    remote.start(program);
    collect = () => {
      remote.finish(program);
      for (const reader of readers) reader(program);
    };
  }
  collect?.();
}

/** A helper process: a seed that never becomes a task. It dies with Stasis. */
export class Helper implements Disposable {
  readonly remote: Remote;
  /** Address of a buffer in the helper. */
  readonly buffer: number;
  /** Address of the machine code of checksums in it, for {@link Program.run}. */
  readonly sums: number;
  /** The helper's numbers for the descriptors it was given. */
  readonly descriptors: readonly number[];
  readonly #seed: Seed;

  private constructor(seed: Seed, bufferLength: number, locals: readonly LocalFd[]) {
    this.#seed = seed;
    this.remote = seed.remote;
    const batch = new Batch(seed.remote);
    closeAll(seed, batch);
    this.descriptors = handOver(seed, batch, locals);
    const program = batch.reserve(2);
    const map = (length: number): Ref =>
      program.call('mmap', 0, length, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
    const [buffer, code] = [map(bufferLength), map(CODE)];
    batch.flush();
    this.buffer = program.result(buffer);
    this.sums = program.result(code);
    writeMemory(seed.tracee.pid, this.sums, thisArch().pageSums());
    batch.reserve(1).call('mprotect', this.sums, CODE, PROT.READ | PROT.EXEC);
    batch.flush();
  }

  /**
   * Makes a helper with a buffer and with copies of some of our descriptors. Undefined if that fails; the caller then
   * works alone.
   */
  static start(bufferLength: number, locals: readonly LocalFd[]): Helper | undefined {
    let seed: Seed | undefined;
    try {
      seed = SEEDS.load().Seed.anywhere();
      return new Helper(seed, bufferLength, locals);
    } catch (error) {
      logDebug(`no helper: ${error instanceof Error ? error.message : String(error)}`);
      seed?.[Symbol.dispose]();
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#seed[Symbol.dispose]();
  }
}
