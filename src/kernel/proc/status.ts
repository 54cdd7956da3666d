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
  readonly pid: number;
  readonly ppid: number;
  /** 0 when not traced. */
  readonly tracerPid: number;
  readonly uid: FourIds;
  readonly gid: FourIds;
  readonly groups: readonly number[];
  /** Since 4.7; missing for zombies. */
  readonly umask: number | undefined;
  readonly nsPid: readonly number[] | undefined;
  readonly nsPgid: readonly number[] | undefined;
  readonly nsSid: readonly number[] | undefined;
  /** Whether there are `Vm…` lines, which means an address space: false for zombies and kernel threads. */
  readonly hasMemory: boolean;
  /** Bytes: mapped in all, of that private and writable, locked. Only with memory. */
  readonly vmSize: number | undefined;
  readonly vmData: number | undefined;
  readonly vmLocked: number | undefined;
  /** Since 4.15, only with memory. */
  readonly coreDumping: boolean | undefined;
  readonly threads: number;
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
  /** CPUs as a list, `0-1,4`. */
  readonly cpusAllowedList: string | undefined;
}

const FILE = '/proc/PID/status';

/**
 * Parses `/proc/PID/status`. There is one for each thread and for each look at it, and few keys are asked for, so that
 * each is looked up when it is. Throws `kernel` when a key every kernel since 3.10 prints is missing: for the last of
 * them at once, since a file may have been cut off, for the others when they are asked for.
 */
export function parseStatus(bytes: Uint8Array): ProcStatus {
  return new Status(latin1(bytes));
}

class Status implements ProcStatus {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    this.#must('CapBnd');
  }

  /**
   * The value of a `Key:` line. The name, which is the first, has its newlines escaped, so no line can be forged. A
   * comm may begin or end with blanks, so only the tab after the colon is removed from the name.
   */
  #value(key: string): string | undefined {
    const text = this.#text;
    if (key === 'Name') return text.startsWith('Name:\t') ? text.slice(6, text.indexOf('\n')) : undefined;
    const at = text.indexOf(`\n${key}:`);
    if (at < 0) return undefined;
    const end = text.indexOf('\n', at + 1);
    return text.slice(at + key.length + 2, end < 0 ? text.length : end).trim();
  }
  #must(key: string): string {
    const value = this.#value(key);
    if (value === undefined) throw malformed(FILE, `no ${key} line`);
    return value;
  }
  #number(key: string): number {
    return decimal(this.#must(key), FILE);
  }
  #mask(key: string): bigint {
    return bigHex(this.#must(key), FILE);
  }
  #maybe<T>(key: string, read: (value: string) => T): T | undefined {
    const value = this.#value(key);
    return value === undefined ? undefined : read(value);
  }

  get name(): string {
    return textOf(unescapeName(this.#must('Name')));
  }
  get state(): string {
    return this.#must('State').slice(0, 1);
  }
  get tgid(): number {
    return this.#number('Tgid');
  }
  get pid(): number {
    return this.#number('Pid');
  }
  get ppid(): number {
    return this.#number('PPid');
  }
  get tracerPid(): number {
    return this.#number('TracerPid');
  }
  get uid(): FourIds {
    return fourIds(this.#must('Uid'));
  }
  get gid(): FourIds {
    return fourIds(this.#must('Gid'));
  }
  get groups(): readonly number[] {
    return toNumbers(this.#must('Groups'));
  }
  get umask(): number | undefined {
    return this.#maybe('Umask', (v) => Number.parseInt(v, 8));
  }
  get nsPid(): readonly number[] | undefined {
    return this.#maybe('NSpid', toNumbers);
  }
  get nsPgid(): readonly number[] | undefined {
    return this.#maybe('NSpgid', toNumbers);
  }
  get nsSid(): readonly number[] | undefined {
    return this.#maybe('NSsid', toNumbers);
  }
  get hasMemory(): boolean {
    return this.#value('VmSize') !== undefined;
  }
  get vmSize(): number | undefined {
    return this.#maybe('VmSize', toBytes);
  }
  get vmData(): number | undefined {
    return this.#maybe('VmData', toBytes);
  }
  get vmLocked(): number | undefined {
    return this.#maybe('VmLck', toBytes);
  }
  get coreDumping(): boolean | undefined {
    return this.#maybe('CoreDumping', toBoolean);
  }
  get threads(): number {
    return this.#number('Threads');
  }
  get sigCgt(): bigint {
    return this.#mask('SigCgt');
  }
  get capInh(): bigint {
    return this.#mask('CapInh');
  }
  get capPrm(): bigint {
    return this.#mask('CapPrm');
  }
  get capEff(): bigint {
    return this.#mask('CapEff');
  }
  get capBnd(): bigint {
    return this.#mask('CapBnd');
  }
  get capAmb(): bigint | undefined {
    return this.#maybe('CapAmb', toMask);
  }
  get noNewPrivs(): boolean | undefined {
    return this.#maybe('NoNewPrivs', toBoolean);
  }
  get seccomp(): number | undefined {
    return this.#maybe('Seccomp', toNumber);
  }
  get seccompFilters(): number | undefined {
    return this.#maybe('Seccomp_filters', toNumber);
  }
  get cpusAllowedList(): string | undefined {
    return this.#value('Cpus_allowed_list');
  }
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
