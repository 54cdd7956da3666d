/**
 * A helper process for bulk work. Two processors copy memory faster than one: the helper runs remote programs while we
 * copy other parts with system calls of our own.
 */
import { thisArch } from '../arch/index.ts';
import type { LocalFd } from '../base/brands.ts';
import { logDebug } from '../base/log.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { Batch } from './batch.ts';
import { findGap } from './gap.ts';
import { closeAll, handOver } from './handover.ts';
import { writeMemory } from './memory.ts';
import { AREA, type Program, type Ref } from './program.ts';
import type { Remote } from './remote.ts';
import { Seed } from './seed.ts';

/** Bytes from which on a helper process is worth what it costs to start. */
export const WORTH_A_HELPER = 32 << 20;

/** Adds what a lot needs to a program, unless it has no room for that; answers what to do with the results. */
export type RemoteWork<Lot> = (program: Program, lot: Lot) => ((results: Program) => void) | undefined;

/** Room for machine code. */
const CODE = 4096;

/** Most lots the other process gets at once. */
const MOST_LOTS = 32;

/**
 * Does work in lots, some here (`locally`), some in a task that runs beside us. Whoever is free takes the next ones;
 * the other task gets several at once, since we look after it only between two lots of our own.
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
    // Towards the end less and less, so that both are done at the same time.
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

/** A helper process of our own: a seed that never becomes anybody. It dies with us. */
export class Helper implements Disposable {
  readonly remote: Remote;
  /** Address of a buffer it has. */
  readonly buffer: number;
  /** Address of the machine code of checksums in it, for {@link Program.run}. */
  readonly sums: number;
  /** Its numbers for the descriptors it was given. */
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
   * Makes one, with a buffer and copies of some of our descriptors; undefined where that cannot be: work alone then.
   */
  static hire(bufferLength: number, locals: readonly LocalFd[]): Helper | undefined {
    let seed: Seed | undefined;
    try {
      seed = Seed.create({ pid: undefined, sibling: false, taken: new Set() }, findGap([], AREA.length));
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
