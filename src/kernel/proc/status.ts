/**
 * `/proc/PID/status` and `/proc/PID/task/TID/status` (fs/proc/array.c, `proc_pid_status()`): `Key:\tvalue` lines.
 *
 * Keys are looked up by name, since kernels have added keys at many places and distributions backport them. Keys that
 * some kernels lack, or print only for tasks with memory, are `undefined` when missing.
 */

import { bigHex, decimal, latin1, malformed, textOf, words } from './common.ts';

/** Real, effective, saved and file-system id, as the reader's user namespace sees them. */
export interface FourIds {
  readonly real: number;
  readonly effective: number;
  readonly saved: number;
  readonly fs: number;
}

/** The content of `status`. */
export interface ProcStatus {
  /** The comm; printed with `\n` and `\\` escaped, given here without escapes. */
  readonly name: string;
  /** The letter alone, as in `stat`: R S D T t X Z P I. */
  readonly state: string;
  readonly tgid: number;
  /** Since 3.13. */
  readonly ngid: number | undefined;
  readonly pid: number;
  readonly ppid: number;
  /** 0 when not traced. */
  readonly tracerPid: number;
  readonly uid: FourIds;
  readonly gid: FourIds;
  readonly groups: readonly number[];
  /** Since 4.7; missing for zombies. */
  readonly umask: number | undefined;
  /** Ids from the reader's pid namespace inwards to the task's own; since 4.1. */
  readonly nsTgid: readonly number[] | undefined;
  readonly nsPid: readonly number[] | undefined;
  readonly nsPgid: readonly number[] | undefined;
  readonly nsSid: readonly number[] | undefined;
  /** Since 6.8. */
  readonly kthread: boolean | undefined;
  /** Whether there are `Vm…` lines, which means an address space: false for zombies and kernel threads. */
  readonly hasMemory: boolean;
  /** Bytes: mapped in all, of that private and writable, locked. Only with memory. */
  readonly vmSize: number | undefined;
  readonly vmData: number | undefined;
  readonly vmLocked: number | undefined;
  /** Since 4.15, only with memory. */
  readonly coreDumping: boolean | undefined;
  /** False after `PR_SET_THP_DISABLE`; since 5.0, only with memory. */
  readonly thpEnabled: boolean | undefined;
  /** Address bits that are not a tag; since 6.4 on x86-64, only with memory. */
  readonly untagMask: bigint | undefined;
  /** User-space shadow-stack features, as `shstk`, `wrss`; since 6.6 on x86-64. */
  readonly threadFeatures: readonly string[] | undefined;
  readonly threadFeaturesLocked: readonly string[] | undefined;
  readonly threads: number;
  /** Number of signals queued for the user, and the limit. */
  readonly sigQ: { readonly queued: number; readonly limit: number };
  /** Pending for this thread. */
  readonly sigPnd: bigint;
  /** Pending for the thread group. */
  readonly shdPnd: bigint;
  readonly sigBlk: bigint;
  readonly sigIgn: bigint;
  readonly sigCgt: bigint;
  readonly capInh: bigint;
  readonly capPrm: bigint;
  readonly capEff: bigint;
  readonly capBnd: bigint;
  /** Since 4.3. */
  readonly capAmb: bigint | undefined;
  /** Since 4.10. */
  readonly noNewPrivs: boolean | undefined;
  /** 0 off, 1 strict, 2 filter; missing without CONFIG_SECCOMP. */
  readonly seccomp: number | undefined;
  /** Since 5.9. */
  readonly seccompFilters: number | undefined;
  /** The kernel's words, as `thread vulnerable`; since 4.17. */
  readonly speculationStoreBypass: string | undefined;
  /** Since 5.17. */
  readonly speculationIndirectBranch: string | undefined;
  /** CPUs as a list, `0-1,4`. */
  readonly cpusAllowedList: string | undefined;
}

const FILE = '/proc/PID/status';

/** Parses `/proc/PID/status`. Throws `kernel` when a key every kernel since 3.10 prints is missing. */
export function parseStatus(bytes: Uint8Array): ProcStatus {
  const values = keyValues(latin1(bytes));
  const must = (key: string): string => {
    const value = values.get(key);
    if (value === undefined) throw malformed(FILE, `no ${key} line`);
    return value;
  };
  const number = (key: string) => decimal(must(key), FILE);
  const mask = (key: string) => bigHex(must(key), FILE);
  const maybe = <T>(key: string, read: (value: string) => T): T | undefined => {
    const value = values.get(key);
    return value === undefined ? undefined : read(value);
  };
  return {
    name: textOf(unescapeName(must('Name'))),
    state: must('State').slice(0, 1),
    tgid: number('Tgid'),
    ngid: maybe('Ngid', toNumber),
    pid: number('Pid'),
    ppid: number('PPid'),
    tracerPid: number('TracerPid'),
    uid: fourIds(must('Uid')),
    gid: fourIds(must('Gid')),
    groups: toNumbers(must('Groups')),
    umask: maybe('Umask', (v) => Number.parseInt(v, 8)),
    nsTgid: maybe('NStgid', toNumbers),
    nsPid: maybe('NSpid', toNumbers),
    nsPgid: maybe('NSpgid', toNumbers),
    nsSid: maybe('NSsid', toNumbers),
    kthread: maybe('Kthread', toBoolean),
    hasMemory: values.has('VmSize'),
    vmSize: maybe('VmSize', toBytes),
    vmData: maybe('VmData', toBytes),
    vmLocked: maybe('VmLck', toBytes),
    coreDumping: maybe('CoreDumping', toBoolean),
    thpEnabled: maybe('THP_enabled', toBoolean),
    untagMask: maybe('untag_mask', toMask),
    threadFeatures: maybe('x86_Thread_features', words),
    threadFeaturesLocked: maybe('x86_Thread_features_locked', words),
    threads: number('Threads'),
    sigQ: sigQueue(must('SigQ')),
    sigPnd: mask('SigPnd'),
    shdPnd: mask('ShdPnd'),
    sigBlk: mask('SigBlk'),
    sigIgn: mask('SigIgn'),
    sigCgt: mask('SigCgt'),
    capInh: mask('CapInh'),
    capPrm: mask('CapPrm'),
    capEff: mask('CapEff'),
    capBnd: mask('CapBnd'),
    capAmb: maybe('CapAmb', toMask),
    noNewPrivs: maybe('NoNewPrivs', toBoolean),
    seccomp: maybe('Seccomp', toNumber),
    seccompFilters: maybe('Seccomp_filters', toNumber),
    speculationStoreBypass: values.get('Speculation_Store_Bypass'),
    speculationIndirectBranch: values.get('SpeculationIndirectBranch'),
    cpusAllowedList: values.get('Cpus_allowed_list'),
  };
}

/** The value of every `Key:` line. The name has its newlines escaped, so no line can be forged. */
function keyValues(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    const colon = text.indexOf(':', at);
    if (colon >= 0 && colon < end) {
      const key = text.slice(at, colon);
      const value = text.slice(colon + 1, end);
      // A comm may begin or end with blanks, so only the tab after the colon is removed from the name.
      values.set(key, key === 'Name' ? value.slice(1) : value.trim());
    }
    at = end + 1;
  }
  return values;
}

/** Undoes `proc_task_name()`: newline and backslash are printed as `\n` and `\\`, nothing else. */
function unescapeName(piece: string): string {
  if (!piece.includes('\\')) return piece;
  return piece.replace(/\\([n\\])/g, (_, c: string) => (c === 'n' ? '\n' : c));
}

/** Whether a process is the init of its PID namespace. */
export function isInit({ nsPid }: Pick<ProcStatus, 'nsPid'>): boolean {
  return nsPid?.at(-1) === 1;
}

const toNumber = (value: string): number => decimal(value, FILE);
const toNumbers = (value: string): number[] => words(value).map(toNumber);
const toBoolean = (value: string): boolean => toNumber(value) !== 0;
const toBytes = (value: string): number => 1024 * decimal(value.replace(/ kB$/, ''), FILE);
const toMask = (value: string): bigint => bigHex(value, FILE);

function fourIds(value: string): FourIds {
  const [real, effective, saved, fs] = words(value);
  return {
    real: decimal(real, FILE),
    effective: decimal(effective, FILE),
    saved: decimal(saved, FILE),
    fs: decimal(fs, FILE),
  };
}

function sigQueue(value: string): { queued: number; limit: number } {
  const [queued, limit] = value.split('/');
  return { queued: decimal(queued, FILE), limit: Number(limit) }; // inexact for 2^64-1, which means unlimited
}
