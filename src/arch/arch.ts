/**
 * What the tracee layer needs to know of a processor architecture. One object of this shape per architecture; the
 * machine code in it is data, with its assembly beside it.
 */

/** General registers as PTRACE_GETREGSET(NT_PRSTATUS) gives them: 64-bit words in the kernel's order. */
export type Registers = BigUint64Array;

/** What goes into the cave: see foothold.ts. Addresses are the task's. */
export interface CavePlan {
  /** Where the code will lie. */
  readonly address: number;
  /** The mapping to make: its address, its length, and how much of it at the start is code. */
  readonly area: number;
  readonly areaLength: number;
  readonly codeLength: number;
  /** The signal used as a bell. */
  readonly bell: number;
  /** Where in the area the bell's old action is kept. */
  readonly oldAction: number;
  /** A word of the area: a visited thread says there that it is out of it. */
  readonly done: number;
  /** The task's registers and signal mask, to be put back. */
  readonly registers: Registers;
  readonly mask: bigint;
}

/**
 * What a cave begins with, so that one left behind is known: "STASIS", and the version of what follows. That is the
 * address of the area.
 */
export const CAVE_MARK = [0x53, 0x54, 0x41, 0x53, 0x49, 0x53, 0, 2] as const;

/** Machine code for the cave, and the two places where it is entered. */
export interface Cave {
  readonly code: Uint8Array;
  readonly enter: number;
  readonly leave: number;
  /** Address of the word that says what `leave` has to do about a visited thread: {@link CLAIM}. */
  readonly claim: number;
}

/** Whose the area is. */
export const CLAIM = {
  /** The leader's: it is gone when that has left. */
  none: 0,
  /** A visited thread is in it: the leader waits until that is done. */
  guest: 1,
  /** A visited thread is in it that may not live to say so. Area and bell stay as they are. */
  forGood: 2,
} as const;

/** What the code around a cave that lifts limits ends with, so that one left behind is known. */
export const LIMITS_MARK = [0x53, 0x54, 0x41, 0x53, 0x49, 0x53, 0x4c, 1] as const;

/** A limit as a task has it, and as it is while it is lifted. */
export interface LiftedLimit {
  /** RLIMIT_*. */
  readonly resource: number;
  readonly own: { readonly cur: bigint; readonly max: bigint };
  readonly lifted: { readonly cur: bigint; readonly max: bigint };
}

/** What is before and behind a cave in a task that has reached limits: see headroom.ts. */
export interface LimitsPlan {
  /** Where the code will lie, and its room. */
  readonly address: number;
  readonly size: number;
  readonly limits: readonly LiftedLimit[];
  /** Where the cave is entered. */
  readonly cave: number;
  /** The task's registers and signal mask, to be put back. */
  readonly registers: Registers;
  readonly mask: bigint;
}

/** Where the way out of a visited thread lies, and what it has to do with the cave's: see visit.ts. */
export interface WayOutPlan {
  readonly address: number;
  readonly claim: number;
  readonly done: number;
}

/** Machine code that takes a visited thread back to where it was; {@link set} makes it that of a certain thread. */
export interface WayOut {
  readonly code: Uint8Array;
  readonly enter: number;
  readonly set: (registers: Registers, mask: bigint) => void;
}

/** How a program's code page ends: what happens after the last call. */
export type ProgramEnd =
  /** Our own seeds: a trap for the tracer, whose death kills the task anyway. */
  | { readonly kind: 'trap' }
  /** Somebody's task: ring for the tracer; if nobody stops us, leave. The way out: {@link Arch.withWayOut}. */
  | { readonly kind: 'bell'; readonly signal: number };

export interface Arch {
  /** Number of words in {@link Registers}. */
  readonly registerCount: number;
  /** Names of the general registers, in the kernel's order; as in the core image. */
  readonly registerNames: readonly string[];
  /** AUDIT_ARCH_*: what seccomp filters are told. */
  readonly auditArch: number;
  /** The `syscall` instruction. */
  readonly syscallInstruction: Uint8Array;
  readonly pc: (registers: Registers) => bigint;
  readonly sp: (registers: Registers) => bigint;
  /** Whether a stretch of stack, in 32-bit words, holds a signal handler's frame that returns to `start` up to `end`. */
  readonly returnsInto: (stack: Uint32Array, start: number, end: number) => boolean;
  /** Whether the stop interrupted a system call that wants to be restarted; its number and -errno. */
  readonly interrupted: (registers: Registers) => { nr: number; args: bigint[]; result: number } | undefined;
  /** Registers that make the task itself redo what {@link interrupted} found, without the kernel's help. */
  readonly restarted: (registers: Registers) => Registers;
  /** A system call that the stop has ended with EINTR, of which the task does not know yet; its number and arguments. */
  readonly cutShort: (registers: Registers) => { nr: number; args: bigint[] } | undefined;
  /** Registers with which {@link cutShort}'s call is to be restarted instead, unless a signal handler is run first. */
  readonly resuming: (registers: Registers) => Registers;
  /** Registers of a task that is inside no system call and goes on at `pc`. */
  readonly jump: (base: Registers, pc: number) => Registers;
  /** Registers that run the program at `entries` with the code page at `code`. */
  readonly runProgram: (base: Registers, code: number, entries: number) => Registers;
  /** Registers from which programs are run in somebody's thread, that goes to `leave` in the end if nobody stops it. */
  readonly withWayOut: (base: Registers, leave: number) => Registers;
  /** Registers that execute one syscall instruction at `pc`. */
  readonly oneCall: (base: Registers, pc: number, nr: number, args: readonly number[]) => Registers;
  /** Address of the program entry being run (after a stop), and the result of the last call. */
  readonly programCounter: (registers: Registers) => number;
  readonly result: (registers: Registers) => number;
  /** The code page: runs programs (program.ts), then `end`. */
  readonly programCode: (end: ProgramEnd) => Uint8Array;
  readonly cave: (plan: CavePlan) => Cave;
  /** Code that lifts limits and goes on to a cave, from `enter`; from its start it puts them back, and goes home. */
  readonly limitsCode: (plan: LimitsPlan) => { readonly code: Uint8Array; readonly enter: number };
  readonly wayOut: (plan: WayOutPlan) => WayOut;
  /** The one-page executable that waits at `socket`, and where in memory it has a syscall followed by a trap. */
  readonly seed: (socket: number) => { elf: Uint8Array; callAt: number };
  /** A signal handler of our own, and the function it returns to: see death-watch.ts. */
  readonly buryCode: (tids: number) => { readonly code: Uint8Array; readonly restorer: number };
  /** The code page of a program that a child of ours runs in our own memory: see detached.ts. It begins with its start. */
  readonly detachedCode: (entries: number) => Uint8Array;
  /** Code a vfork child runs to become the seed: see seed.ts. */
  readonly spawnCode: (plan: SpawnPlan) => Uint8Array;
}

/** Operands of the code that turns a vfork child into the seed. */
export interface SpawnPlan {
  readonly executable: number;
  readonly emptyString: number;
  readonly argv: number;
  readonly socket: number;
  readonly socketTarget: number;
}
