/**
 * `/proc/PID/smaps` and `/proc/PID/maps` (fs/proc/task_mmu.c, `show_map_vma()` and `show_smap()`).
 *
 *     555f5e5f1000-555f5e620000 r--p 00000000 fe:00 260104                     /usr/bin/bash
 *     Size:                188 kB
 *     …
 *     VmFlags: rd mr mw me
 *
 * This parser is on the critical path of a dump: the process is frozen while it runs, and 10,000 VMAs have 7 MB of
 * smaps. It works on the bytes. It expects the lines it needs where they were in the record before (all records of one
 * kernel have the same lines, nearly always of the same width) and checks each guess. It reuses strings and flag sets
 * that repeat.
 */

import { asBuffer, malformed, textOf, words } from './common.ts';

/** One virtual memory area. */
export interface ProcVma {
  /** First address and the one after the last. Page-aligned, so exact as numbers over all 64 bits. */
  readonly start: number;
  readonly end: number;
  /** `PROT_READ` 1, `PROT_WRITE` 2, `PROT_EXEC` 4. */
  readonly prot: number;
  /** `s` in the file: mapped with MAP_SHARED (VM_MAYSHARE). */
  readonly shared: boolean;
  /** Offset into the file in bytes, page-aligned. */
  readonly offset: number;
  readonly devMajor: number;
  readonly devMinor: number;
  /** 0n when there is no file behind. */
  readonly ino: bigint;
  /**
   * The last column, empty for plain anonymous memory. Names are the kernel's: {@link vmaName} sorts them. A newline is
   * printed as `\012`; backslashes are not escaped, so only the link `map_files/START-END` tells it from the four
   * characters.
   */
  readonly name: string;
  /** Two-letter mnemonics of VmFlags (since 3.8); `undefined` when parsed from `maps`. */
  readonly vmFlags: ReadonlySet<string> | undefined;
  /** In bytes; larger than a page for hugetlb. `undefined` when parsed from `maps`, like the fields below. */
  readonly kernelPageSize: number | undefined;
  /** In bytes: resident; of these, mapped by others too; of these, anonymous; swapped out. */
  readonly rss: number | undefined;
  readonly rssShared: number | undefined;
  readonly anonymous: number | undefined;
  readonly swap: number | undefined;
  /** Protection key, on CPUs that have them. */
  readonly protectionKey: number | undefined;
}

/** Parses either file. Throws `kernel` for another format, also when the last line is incomplete. */
export function parseSmaps(bytes: Uint8Array): ProcVma[] {
  return new Parser(bytes).all();
}

const FILE = '/proc/PID/smaps';
const NEWLINE = 10;
const SPACE = 32;
const HYPHEN = 45;
const ZERO = 48;
const NINE = 57;
const COLON = 58;

/** The detail lines that are needed, as indices into `lineAt`. */
const KERNEL_PAGE_SIZE = 0;
const RSS = 1;
const SHARED_CLEAN = 2;
const SHARED_DIRTY = 3;
const ANONYMOUS = 4;
const SWAP = 5;
const PROTECTION_KEY = 6;
const VM_FLAGS = 7;
const LABELS = [
  'KernelPageSize:',
  'Rss:',
  'Shared_Clean:',
  'Shared_Dirty:',
  'Anonymous:',
  'Swap:',
  'ProtectionKey:',
  'VmFlags:',
];

class Parser {
  private readonly bytes: Buffer;
  /** The offset of the next byte to read. */
  private at = 0;
  /**
   * Start of each wanted line relative to the end of the header, in the record read last; -1 if it has no such line.
   */
  private readonly lineAt: number[] = LABELS.map(() => -1);
  private readonly names = new Repeated(textOf);
  private readonly flagSets = new Map<string, ReadonlySet<string>>();
  private readonly flags = new Repeated((piece) => this.flagSet(piece));

  constructor(bytes: Uint8Array) {
    this.bytes = asBuffer(bytes);
  }

  all(): ProcVma[] {
    const out: ProcVma[] = [];
    while (this.at < this.bytes.length) out.push(this.record());
    return out;
  }

  private record(): ProcVma {
    const start = this.hex(HYPHEN);
    const end = this.hex(SPACE);
    const modes = this.at;
    this.at += 5;
    const offset = this.hex(SPACE);
    const devMajor = this.hex(COLON);
    const devMinor = this.hex(SPACE);
    const ino = this.inode();
    const name = this.name();
    const body = this.at;
    const detailed = this.findDetails(body);
    const size = (line: number) => (detailed ? this.number(body, line, 1024) : undefined);
    return {
      start,
      end,
      prot: this.prot(modes),
      shared: this.bytes[modes + 3] === 0x73, // s
      offset,
      devMajor,
      devMinor,
      ino,
      name,
      vmFlags: detailed ? this.vmFlags(body) : undefined,
      kernelPageSize: size(KERNEL_PAGE_SIZE),
      rss: size(RSS),
      rssShared: detailed ? (size(SHARED_CLEAN) ?? 0) + (size(SHARED_DIRTY) ?? 0) : undefined,
      anonymous: size(ANONYMOUS),
      swap: size(SWAP),
      protectionKey: detailed ? this.number(body, PROTECTION_KEY, 1) : undefined,
    };
  }

  /** `rwx` with hyphens for what is missing. */
  private prot(modes: number): number {
    const { bytes } = this;
    return (bytes[modes] === 0x72 ? 1 : 0) | (bytes[modes + 1] === 0x77 ? 2 : 0) | (bytes[modes + 2] === 0x78 ? 4 : 0);
  }

  /** Reads hexadecimal digits and the byte that ends them. */
  private hex(ending: number): number {
    const { bytes } = this;
    let at = this.at;
    let value = 0;
    for (; at < bytes.length; at++) {
      const c = bytes[at] as number;
      if (c >= ZERO && c <= NINE) value = value * 16 + (c - ZERO);
      else if (c >= 0x61 && c <= 0x66) value = value * 16 + (c - 0x57);
      else break;
    }
    if (at === this.at || bytes[at] !== ending) this.fail();
    this.at = at + 1;
    return value;
  }

  /** Reads an inode number, which may have 64 bits but usually has fewer. */
  private inode(): bigint {
    const { bytes } = this;
    const from = this.at;
    let at = from;
    let value = 0;
    for (; at < bytes.length; at++) {
      const digit = (bytes[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (at === from) this.fail();
    this.at = at;
    if (value === 0) return 0n;
    return at - from <= 15 ? BigInt(value) : BigInt(bytes.toString('latin1', from, at));
  }

  private name(): string {
    const { bytes } = this;
    let from = this.at;
    while (bytes[from] === SPACE) from++;
    const to = bytes.indexOf(NEWLINE, from);
    if (to < 0) this.fail();
    this.at = to + 1;
    return from === to ? '' : this.names.get(bytes, from, to);
  }

  /**
   * Finds the wanted lines of the record whose header ends before `body`, and moves to the next record. False if it
   * has no details. Detail lines begin with a capital letter, headers with a hexadecimal digit.
   */
  private findDetails(body: number): boolean {
    if (!this.isDetail(body)) return false;
    if (!this.sameLayout(body)) this.learnLayout(body);
    return true;
  }

  private isDetail(at: number): boolean {
    const c = this.bytes[at];
    return c !== undefined && c >= 0x41 && c <= 0x5a;
  }

  /**
   * Whether all wanted lines are where they were in the record before. VmFlags ends every record, so nothing is
   * skipped.
   */
  private sameLayout(body: number): boolean {
    const { bytes, lineAt } = this;
    if ((lineAt[VM_FLAGS] as number) < 0) return false;
    for (let line = 0; line < LABELS.length; line++) {
      const offset = lineAt[line] as number;
      if (offset < 0) continue;
      const at = body + offset;
      const label = LABELS[line] as string;
      if (bytes[at - 1] !== NEWLINE || bytes[at] !== label.charCodeAt(0) || bytes[at + label.length - 1] !== COLON) {
        return false;
      }
    }
    const end = bytes.indexOf(NEWLINE, body + (lineAt[VM_FLAGS] as number));
    if (end < 0 || this.isDetail(end + 1)) return false;
    this.at = end + 1;
    return true;
  }

  /** Goes through the details line by line. */
  private learnLayout(body: number): void {
    const { bytes, lineAt } = this;
    for (let line = 0; line < lineAt.length; line++) lineAt[line] = -1;
    let at = body;
    while (this.isDetail(at)) {
      const line = this.labelAt(at);
      if (line >= 0) lineAt[line] = at - body;
      const end = bytes.indexOf(NEWLINE, at);
      if (end < 0) this.fail();
      at = end + 1;
    }
    this.at = at;
  }

  /** Which of the wanted lines begins here, or -1. */
  private labelAt(at: number): number {
    const { bytes } = this;
    for (let line = 0; line < LABELS.length; line++) {
      const label = LABELS[line] as string;
      let i = 0;
      while (i < label.length && bytes[at + i] === label.charCodeAt(i)) i++;
      if (i === label.length) return line;
    }
    return -1;
  }

  /** The number in a detail line, or undefined if there is no such line. */
  private number(body: number, line: number, unit: number): number | undefined {
    const { bytes } = this;
    const offset = this.lineAt[line] as number;
    if (offset < 0) return undefined;
    let at = body + offset + (LABELS[line] as string).length;
    while (bytes[at] === SPACE) at++;
    let value = 0;
    for (; at < bytes.length; at++) {
      const digit = (bytes[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    return value * unit;
  }

  /** The VmFlags line ends the record, so it ends before the newline at `this.at - 1`. */
  private vmFlags(body: number): ReadonlySet<string> | undefined {
    const offset = this.lineAt[VM_FLAGS] as number;
    if (offset < 0) return undefined;
    const from = body + offset + (LABELS[VM_FLAGS] as string).length;
    return this.flags.get(this.bytes, from, this.bytes.indexOf(NEWLINE, from));
  }

  private flagSet(text: string): ReadonlySet<string> {
    let set = this.flagSets.get(text);
    if (!set) {
      set = new Set(words(text));
      this.flagSets.set(text, set);
    }
    return set;
  }

  private fail(): never {
    throw malformed(FILE, `at byte ${this.at}`);
  }
}

/** Converts a piece of the buffer, given as latin-1, or returns the last result if the piece has the same bytes. */
class Repeated<T> {
  private from = 0;
  private to = 0;
  private value: T | undefined;
  private readonly make: (piece: string) => T;

  constructor(make: (piece: string) => T) {
    this.make = make;
  }

  get(bytes: Buffer, from: number, to: number): T {
    if (this.value === undefined || !this.same(bytes, from, to)) {
      this.value = this.make(bytes.toString('latin1', from, to));
      this.from = from;
      this.to = to;
    }
    return this.value;
  }

  private same(bytes: Buffer, from: number, to: number): boolean {
    const shift = from - this.from;
    if (to - this.to !== shift) return false;
    // Compared from the end, since the names of neighbouring VMAs differ there.
    for (let at = to - 1; at >= from; at--) if (bytes[at] !== bytes[at - shift]) return false;
    return true;
  }
}

/** The link in /proc to the file that a task has mapped in this VMA. */
export function mapFile(pid: number, { start, end }: Pick<ProcVma, 'start' | 'end'>): string {
  return `/proc/${pid}/map_files/${start.toString(16)}-${end.toString(16)}`;
}
