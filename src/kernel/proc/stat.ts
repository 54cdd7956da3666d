/**
 * `/proc/PID/stat` and `/proc/PID/task/TID/stat`: one line of 52 numbers (fs/proc/array.c, `do_task_stat()`).
 *
 * The second field is the comm in parentheses and may hold any bytes, even `) S 1 (`. It ends at the *last* `)`.
 */

import { bigDecimal, decimal, latin1, malformed, textOf } from './common.ts';

/**
 * All fields, named as in proc(5). Times are in clock ticks (USER_HZ, 100 a second). Addresses and masks are bigint, as
 * images have them; with five-level page tables user addresses reach 2^56, more than a double holds exactly. The mm
 * fields are 0n for zombies, and for readers that may not ptrace the task.
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
  readonly minflt: number;
  readonly cminflt: number;
  readonly majflt: number;
  readonly cmajflt: number;
  readonly utime: number;
  readonly stime: number;
  readonly cutime: number;
  readonly cstime: number;
  readonly priority: number;
  readonly nice: number;
  readonly numThreads: number;
  readonly itrealvalue: number;
  /**
   * Clock ticks between boot (of the reader's time namespace) and the start of the task. With the PID it identifies a
   * task.
   */
  readonly starttime: number;
  /** Bytes. */
  readonly vsize: number;
  /** Pages. */
  readonly rss: number;
  /** Bytes; 2^64-1 is unlimited. */
  readonly rsslim: bigint;
  readonly startCode: bigint;
  readonly endCode: bigint;
  readonly startStack: bigint;
  readonly kstkesp: bigint;
  readonly kstkeip: bigint;
  /** Signal masks, cut off to 31 bits; `status` has all bits. */
  readonly signal: bigint;
  readonly blocked: bigint;
  readonly sigignore: bigint;
  readonly sigcatch: bigint;
  readonly wchan: bigint;
  readonly nswap: number;
  readonly cnswap: number;
  /** Signal sent to the parent at exit: 17 (SIGCHLD) as a rule, -1 for a thread that is not the leader. */
  readonly exitSignal: number;
  readonly processor: number;
  readonly rtPriority: number;
  /** `SCHED_*`. */
  readonly policy: number;
  readonly delayacctBlkioTicks: number;
  readonly guestTime: number;
  readonly cguestTime: number;
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

/** Parses `/proc/PID/stat`. Throws `kernel` for another format. */
export function parseStat(bytes: Uint8Array): ProcStat {
  const line = latin1(bytes);
  const open = line.indexOf('(');
  const close = line.lastIndexOf(')');
  if (open < 2 || close < open) throw malformed(FILE, 'no comm in parentheses');
  const f = line
    .slice(close + 2)
    .trimEnd()
    .split(' ');
  if (f.length < FIELDS_AFTER_COMM) throw malformed(FILE, `${f.length + 2} fields instead of 52`);
  // Field numbers as in proc(5), where the state is number 3.
  const num = (field: number) => decimal(f[field - 3], FILE);
  const big = (field: number) => bigDecimal(f[field - 3], FILE);
  return {
    pid: decimal(line.slice(0, open - 1), FILE),
    comm: textOf(line.slice(open + 1, close)),
    state: f[0] as string, // present: the length was checked
    ppid: num(4),
    pgrp: num(5),
    session: num(6),
    ttyNr: num(7),
    tpgid: num(8),
    flags: num(9),
    minflt: num(10),
    cminflt: num(11),
    majflt: num(12),
    cmajflt: num(13),
    utime: num(14),
    stime: num(15),
    cutime: num(16),
    cstime: num(17),
    priority: num(18),
    nice: num(19),
    numThreads: num(20),
    itrealvalue: num(21),
    starttime: num(22),
    vsize: num(23),
    rss: num(24),
    rsslim: big(25),
    startCode: big(26),
    endCode: big(27),
    startStack: big(28),
    kstkesp: big(29),
    kstkeip: big(30),
    signal: big(31),
    blocked: big(32),
    sigignore: big(33),
    sigcatch: big(34),
    wchan: big(35),
    nswap: num(36),
    cnswap: num(37),
    exitSignal: num(38),
    processor: num(39),
    rtPriority: num(40),
    policy: num(41),
    delayacctBlkioTicks: num(42),
    guestTime: num(43),
    cguestTime: num(44),
    startData: big(45),
    endData: big(46),
    startBrk: big(47),
    argStart: big(48),
    argEnd: big(49),
    envStart: big(50),
    envEnd: big(51),
    exitCode: num(52),
  };
}
