/**
 * `/proc/PID/stat` and `/proc/PID/task/TID/stat`: one line of 52 numbers (fs/proc/array.c, `do_task_stat()`).
 *
 * The second field is the comm in parentheses and may hold any bytes, even `) S 1 (`. It ends at the *last* `)`.
 */

import { bigDecimal, decimal, latin1, malformed, textOf } from './common.ts';

/**
 * The fields that are needed, named as in proc(5). Times are in clock ticks (USER_HZ, 100 a second). Addresses are
 * bigint, as images have them; with five-level page tables user addresses reach 2^56, more than a double holds exactly.
 * The mm fields are 0n for zombies, and for readers that may not ptrace the task.
 */
export interface ProcStat {
  readonly pid: number;
  /** The comm, which is printed raw here (and escaped in `status`). */
  readonly comm: string;
  /** R running, S sleeping, D disk sleep, T stopped, t tracing stop, X dead, Z zombie, P parked, I idle. */
  readonly state: string;
  readonly ppid: number;
  readonly pgrp: number;
  readonly session: number;
  /** The controlling terminal as an encoded device number (`new_encode_dev`), 0 for none. */
  readonly ttyNr: number;
  /** Foreground process group of the terminal, -1 for none. */
  readonly tpgid: number;
  /** `PF_*` bits of the task. */
  readonly flags: number;
  /** As the kernel sorts tasks: negative for real-time ones. */
  readonly priority: number;
  readonly nice: number;
  readonly numThreads: number;
  /**
   * Clock ticks between boot (of the reader's time namespace) and the start of the task. With the PID it identifies a
   * task.
   */
  readonly starttime: number;
  /** Pages. */
  readonly rss: number;
  readonly startCode: bigint;
  readonly endCode: bigint;
  readonly startStack: bigint;
  /** Signal sent to the parent at exit: 17 (SIGCHLD) as a rule, -1 for a thread that is not the leader. */
  readonly exitSignal: number;
  readonly rtPriority: number;
  /** `SCHED_*`. */
  readonly policy: number;
  readonly startData: bigint;
  readonly endData: bigint;
  readonly startBrk: bigint;
  readonly argStart: bigint;
  readonly argEnd: bigint;
  readonly envStart: bigint;
  readonly envEnd: bigint;
  /** As `wait(2)` reports it: status << 8, or the signal. */
  readonly exitCode: number;
}

const FILE = '/proc/PID/stat';

/** How many fields follow the comm, in kernels since 3.5 (`exit_code` is the last). */
const FIELDS_AFTER_COMM = 50;

/**
 * Parses `/proc/PID/stat`. There is one for each task and for each look at it, and few fields are asked for, so that
 * each is parsed when it is. Throws `kernel` for another format, a field that is not a number when it is asked for.
 */
export function parseStat(bytes: Uint8Array): ProcStat {
  return new Stat(latin1(bytes));
}

class Stat implements ProcStat {
  readonly #pid: string;
  readonly #comm: string;
  readonly #fields: readonly string[];

  constructor(line: string) {
    const open = line.indexOf('(');
    const close = line.lastIndexOf(')');
    if (open < 2 || close < open) throw malformed(FILE, 'no comm in parentheses');
    this.#pid = line.slice(0, open - 1);
    this.#comm = line.slice(open + 1, close);
    this.#fields = line
      .slice(close + 2)
      .trimEnd()
      .split(' ');
    const { length } = this.#fields;
    if (length < FIELDS_AFTER_COMM) throw malformed(FILE, `${length + 2} fields instead of 52`);
  }

  // Field numbers as in proc(5), where the state is number 3.
  #num(field: number): number {
    return decimal(this.#fields[field - 3], FILE);
  }
  #big(field: number): bigint {
    return bigDecimal(this.#fields[field - 3], FILE);
  }

  get pid(): number {
    return decimal(this.#pid, FILE);
  }
  get comm(): string {
    return textOf(this.#comm);
  }
  get state(): string {
    return this.#fields[0] as string; // present: the length was checked
  }
  get ppid(): number {
    return this.#num(4);
  }
  get pgrp(): number {
    return this.#num(5);
  }
  get session(): number {
    return this.#num(6);
  }
  get ttyNr(): number {
    return this.#num(7);
  }
  get tpgid(): number {
    return this.#num(8);
  }
  get flags(): number {
    return this.#num(9);
  }
  get priority(): number {
    return this.#num(18);
  }
  get nice(): number {
    return this.#num(19);
  }
  get numThreads(): number {
    return this.#num(20);
  }
  get starttime(): number {
    return this.#num(22);
  }
  get rss(): number {
    return this.#num(24);
  }
  get startCode(): bigint {
    return this.#big(26);
  }
  get endCode(): bigint {
    return this.#big(27);
  }
  get startStack(): bigint {
    return this.#big(28);
  }
  get exitSignal(): number {
    return this.#num(38);
  }
  get rtPriority(): number {
    return this.#num(40);
  }
  get policy(): number {
    return this.#num(41);
  }
  get startData(): bigint {
    return this.#big(45);
  }
  get endData(): bigint {
    return this.#big(46);
  }
  get startBrk(): bigint {
    return this.#big(47);
  }
  get argStart(): bigint {
    return this.#big(48);
  }
  get argEnd(): bigint {
    return this.#big(49);
  }
  get envStart(): bigint {
    return this.#big(50);
  }
  get envEnd(): bigint {
    return this.#big(51);
  }
  get exitCode(): number {
    return this.#num(52);
  }
}
