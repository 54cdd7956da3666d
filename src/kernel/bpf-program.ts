/** Programs of eBPF, put together from instructions (Documentation/bpf/standardization/instruction-set.rst). */
import { BPF_CLASS, BPF_FUNC, BPF_MODE, BPF_OPERAND, BPF_OPERATION, BPF_SIZE } from './constants/bpf.ts';
import { BpfInstruction } from './layouts/bpf.ts';

/** A register: 0 is the result, 1 to 5 are arguments, 6 to 9 are kept over calls, 10 points above the stack. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

const { ALU64, JMP, LD, LDX, STX } = BPF_CLASS;
const { IMM, MEM } = BPF_MODE;
const { ADD, CALL, EXIT, JEQ, JLT, JNE, MOV } = BPF_OPERATION;
const { X } = BPF_OPERAND;
/** Sizes of loads and stores. */
const SIZE = { 4: BPF_SIZE.W, 8: BPF_SIZE.DW } as const;
/** Comparisons of a register with a constant. */
const WHEN = { equal: JMP | JEQ, unequal: JMP | JNE, less: JMP | JLT } as const;

/** Collects instructions; each method appends one, unless it says more. */
export class BpfProgram {
  readonly #instructions: { code: number; registers: number; offset: number; immediate: number }[] = [];
  /** Jumps whose target is not known yet, by its name. */
  readonly #open: { readonly at: number; readonly label: string }[] = [];
  readonly #labels = new Map<string, number>();

  move(to: Register, from: Register): void {
    this.#add(ALU64 | MOV | X, to, from);
  }

  set(to: Register, value: number): void {
    this.#add(ALU64 | MOV, to, 0, 0, value);
  }

  /** Two instructions: a value of 64 bits. */
  setLong(to: Register, value: bigint): void {
    this.#add(LD | IMM | SIZE[8], to, 0, 0, Number(BigInt.asIntN(32, value)));
    this.#add(0, 0, 0, 0, Number(BigInt.asIntN(32, value >> 32n)));
  }

  add(to: Register, value: number): void {
    this.#add(ALU64 | ADD, to, 0, 0, value);
  }

  /** `to = *(base + offset)`, of 4 or 8 bytes. */
  load(size: 4 | 8, to: Register, base: Register, offset: number): void {
    this.#add(LDX | MEM | SIZE[size], to, base, offset);
  }

  /** `*(base + offset) = from`, of 8 bytes. */
  store(base: Register, offset: number, from: Register): void {
    this.#add(STX | MEM | SIZE[8], base, from, offset);
  }

  /** Jumps to `label` if the register is (or is not, or is less than) a value. */
  jump(when: keyof typeof WHEN, register: Register, value: number, label: string): void {
    this.#open.push({ at: this.#instructions.length, label });
    this.#add(WHEN[when], register, 0, 0, value);
  }

  label(name: string): void {
    this.#labels.set(name, this.#instructions.length);
  }

  call(name: keyof typeof BPF_FUNC): void {
    this.#add(JMP | CALL, 0, 0, 0, BPF_FUNC[name]);
  }

  exit(): void {
    this.#add(JMP | EXIT, 0, 0);
  }

  /** The number of instructions. */
  get length(): number {
    return this.#instructions.length;
  }

  /** The program as the kernel takes it. */
  encode(): Uint8Array {
    for (const { at, label } of this.#open) {
      const instruction = this.#instructions[at];
      if (instruction) instruction.offset = (this.#labels.get(label) ?? 0) - at - 1;
    }
    const bytes = new Uint8Array(this.length * BpfInstruction.size);
    this.#instructions.forEach((instruction, i) => {
      BpfInstruction.encodeInto(bytes, i * BpfInstruction.size, instruction);
    });
    return bytes;
  }

  #add(code: number, target: Register, source: Register, offset = 0, immediate = 0): void {
    this.#instructions.push({ code, registers: target | (source << 4), offset, immediate });
  }
}
