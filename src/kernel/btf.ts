/**
 * The kernel's own description of its types (BTF, /sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF): where the members of
 * its structures are. It is read only if something needs it, since it has millions of bytes.
 */
import { StasisError } from '../base/errors.ts';
import { BTF_MAGIC, BTF_KIND as KIND } from './constants/bpf.ts';
import { O } from './constants/files.ts';
import { tryOpen, tryRead } from './files.ts';
import { statusOf } from './statx.ts';
import { Fd } from './syscall.ts';

const PATH = '/sys/kernel/btf/vmlinux';

/** Bytes after the common head of a type: a fixed number, and a number for each element. */
const SIZES: Readonly<Record<number, readonly [fixed: number, each: number]>> = {
  [KIND.INT]: [4, 0],
  [KIND.ARRAY]: [12, 0],
  [KIND.STRUCT]: [0, 12],
  [KIND.UNION]: [0, 12],
  [KIND.ENUM]: [0, 8],
  [KIND.FUNC_PROTO]: [0, 8],
  [KIND.VAR]: [4, 0],
  [KIND.DATASEC]: [0, 12],
  [KIND.DECL_TAG]: [4, 0],
  [KIND.ENUM64]: [0, 12],
};

const HEAD = 12;

/** The types of the running kernel. */
export class Btf {
  readonly #view: DataView;
  readonly #strings: number;
  /** Where each type begins, by its ID. */
  readonly #places: number[] = [0];
  readonly #bytes: Uint8Array;

  /** Parses the description; `bytes` is the file. @throws StasisError (kernel) if it is of another form */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < 24 || this.#view.getUint16(0, true) !== BTF_MAGIC) throw damaged();
    const head = this.#view.getUint32(4, true);
    const [types = 0, length = 0, strings = 0] = [8, 12, 16].map((at) => this.#view.getUint32(at, true));
    this.#strings = head + strings;
    const end = head + types + length;
    if (end > bytes.length) throw damaged();
    for (let at = head + types; at < end; ) {
      this.#places.push(at);
      const info = this.#view.getUint32(at + 4, true);
      const [fixed, each] = SIZES[(info >>> 24) & 31] ?? [0, 0];
      at += HEAD + fixed + each * (info & 0xffff);
    }
  }

  /** The types of the running kernel; undefined if it does not describe them. */
  static ofKernel(): Btf | undefined {
    const opened = tryOpen(PATH, O.RDONLY);
    if (opened < 0) return undefined;
    using file = new Fd(opened);
    const bytes = new Uint8Array(statusOf(file.number).size);
    const got = tryRead(file.number, bytes);
    return got === bytes.length ? new Btf(bytes) : undefined;
  }

  /** The ID of a function; undefined if there is none of this name. */
  functionId(name: string): number | undefined {
    return this.#find(name, KIND.FUNC);
  }

  /** The size of a structure in bytes; undefined if there is none of this name. */
  sizeOf(structure: string): number | undefined {
    const id = this.#find(structure, KIND.STRUCT);
    return id === undefined ? undefined : this.#word(id, 8);
  }

  /**
   * The offset of a member in bytes, also of one in a nameless structure or union inside; undefined if there is none.
   * Of a bit field it is the byte in which it begins.
   */
  offsetOf(structure: string, member: string): number | undefined {
    const id = this.#find(structure, KIND.STRUCT);
    const bits = id === undefined ? undefined : this.#offsetIn(id, encoded(member));
    return bits === undefined ? undefined : bits >>> 3;
  }

  #offsetIn(id: number, member: Uint8Array): number | undefined {
    const info = this.#word(id, 4);
    const place = this.#places[id] as number; // of a type that was found
    for (let i = 0; i < (info & 0xffff); i++) {
      const at = place + HEAD + 12 * i;
      const word = this.#view.getUint32(at + 8, true);
      const offset = info >>> 31 ? word & 0xff_ffff : word;
      const name = this.#view.getUint32(at, true);
      if (this.#isNamed(name, member)) return offset;
      const type = this.#view.getUint32(at + 4, true);
      if (this.#bytes[this.#strings + name] !== 0 || !this.#isAggregate(type)) continue;
      const inside = this.#offsetIn(type, member);
      if (inside !== undefined) return offset + inside;
    }
    return undefined;
  }

  #isAggregate(id: number): boolean {
    const kind = (this.#word(id, 4) >>> 24) & 31;
    return id > 0 && (kind === KIND.STRUCT || kind === KIND.UNION);
  }

  #find(name: string, kind: number): number | undefined {
    const wanted = encoded(name);
    for (let id = 1; id < this.#places.length; id++) {
      const at = this.#places[id] as number; // id is below the length
      if (((this.#view.getUint32(at + 4, true) >>> 24) & 31) !== kind) continue;
      if (this.#isNamed(this.#view.getUint32(at, true), wanted)) return id;
    }
    return undefined;
  }

  #word(id: number, offset: number): number {
    return this.#view.getUint32((this.#places[id] ?? 0) + offset, true);
  }

  /** Whether the name at `offset` of the strings is this one, NUL included. */
  #isNamed(offset: number, name: Uint8Array): boolean {
    const at = this.#strings + offset;
    for (let i = 0; i < name.length; i++) if (this.#bytes[at + i] !== name[i]) return false;
    return true;
  }
}

const encoded = (name: string): Uint8Array => new TextEncoder().encode(`${name}\0`);

function damaged(): StasisError {
  return new StasisError({ kind: 'kernel', resource: PATH, reason: 'not as the kernel describes its types' });
}
