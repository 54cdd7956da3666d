/**
 * What the other layers need to know of a processor architecture. There is one object of this shape for each
 * architecture. Its machine code is data, with the assembly beside it in comments.
 */

import type { ErrorCode } from '../base/error-codes.ts';
import type { SyscallName } from './syscall-numbers.ts';
import type * as cpu from './x86-64/cpu.ts';
import type * as info from './x86-64/thread-info.ts';
import type * as xsave from './x86-64/xsave.ts';

/** General registers as PTRACE_GETREGSET(NT_PRSTATUS) gives them: 64-bit words in the kernel's order. */
export type Registers = BigUint64Array;

/** What goes into the cave: see foothold.ts. Addresses are the task's. */
export interface CavePlan {
  /** Address at which the code will run. */
  readonly address: number;
  /** The work area to map: its address, its length, and the length of the code at its start. */
  readonly area: number;
  readonly areaLength: number;
  readonly codeLength: number;
  /** The signal that tells the tracer that a program has ended (the bell). */
  readonly bell: number;
  /** Whether the task ignores this signal anyway. If not, the cave has it ignored meanwhile. */
  readonly isQuiet: boolean;
  /** Offset in the area at which the task's own action for the bell signal is kept, unless it is quiet. */
  readonly oldAction: number;
  /** Offset in the area of a word that a visited thread sets when it has left the area. */
  readonly done: number;
  /** The task's registers and signal mask, to be put back. */
  readonly registers: Registers;
  readonly mask: bigint;
}

/**
 * The first bytes of a cave, by which a cave that a killed Stasis left behind is recognised: "STASIS" and the version
 * of the layout. The byte before the version is 1 if the bell is quiet. The address of the area follows.
 */
export const CAVE_MARK = [0x53, 0x54, 0x41, 0x53, 0x49, 0x53, 0, 4] as const;

/** The way out with a quiet bell, and where the task is when it rings. */
export interface QuietWay {
  /** `enter` has come to its end. */
  readonly entered: number;
  /** Unmaps the area, and rings. */
  readonly depart: number;
  /** The area is unmapped. */
  readonly unmapped: number;
  readonly departed: number;
}

/** Machine code for the cave, and the places where it is entered. */
export interface Cave {
  readonly code: Uint8Array;
  readonly enter: number;
  readonly leave: number;
  readonly quiet: QuietWay | undefined;
  /**
   * Address of the claim, the word that tells `leave` whether to wait for a visited thread; values are {@link CLAIM}'s.
   */
  readonly claim: number;
}

/** What a thread had when it was found: its signal mask, and its registers, made from those it has now. */
export interface SavedState {
  readonly mask: bigint;
  readonly registers: (now: Registers) => Registers;
}

/** A cave whose Stasis is dead. Addresses are the task's. */
export interface LeftCave {
  readonly area: number;
  readonly bell: number;
  readonly enter: number;
  readonly leave: number;
  readonly quiet: QuietWay | undefined;
  /** Behind the last call of `leave`: area and bell are as they were there, the registers are not. */
  readonly maskSet: number;
  readonly claim: number;
  readonly leader: SavedState;
  /** The visited thread's, and where its way out begins. */
  readonly guest: SavedState & { readonly enter: number };
}

/** Values of the claim: which thread unmaps the work area. */
export const CLAIM = {
  /** No thread is visited: the leader unmaps the area when it leaves. */
  none: 0,
  /** A visited thread uses the area: the leader waits until that thread has left it. */
  guest: 1,
  /**
   * A visited thread uses the area and may be killed before it can say that it has left. The area stays mapped and the
   * bell signal stays ignored.
   */
  forGood: 2,
} as const;

/**
 * The last bytes of the code around a cave that raises limits, by which code that a killed Stasis left is recognised.
 */
export const LIMITS_MARK = [0x53, 0x54, 0x41, 0x53, 0x49, 0x53, 0x4c, 1] as const;

/** A resource limit: the task's own values, and the raised ones it has while programs run in it. */
export interface LiftedLimit {
  /** RLIMIT_*. */
  readonly resource: number;
  readonly own: { readonly cur: bigint; readonly max: bigint };
  readonly lifted: { readonly cur: bigint; readonly max: bigint };
}

/** The code before and behind the cave of a task that has reached resource limits: see headroom.ts. */
export interface LimitsPlan {
  /** Address at which the code will run, and the bytes available there. */
  readonly address: number;
  readonly size: number;
  readonly limits: readonly LiftedLimit[];
  /** Address at which the cave is entered. */
  readonly cave: number;
  /** The task's registers and signal mask, to be put back. */
  readonly registers: Registers;
  readonly mask: bigint;
}

/** Where the exit code of a visited thread lies, and how it works together with the leader's: see visit.ts. */
export interface WayOutPlan {
  readonly address: number;
  readonly claim: number;
  readonly done: number;
}

/**
 * Machine code that takes a visited thread back to where it was. {@link set} fills in the values of a certain thread.
 */
export interface WayOut {
  readonly code: Uint8Array;
  readonly enter: number;
  readonly set: (registers: Registers, mask: bigint) => void;
}

/** How a program's code page ends: what happens after the last call. */
export type ProgramEnd =
  /**
   * In seeds, which are ours: a trap instruction stops for the tracer. PTRACE_O_EXITKILL ends a seed whose tracer dies.
   */
  | { readonly kind: 'trap' }
  /** A process of ours that nobody traces: it exits with 1. */
  | { readonly kind: 'exit' }
  /**
   * In tasks that are not ours: the task sends itself the bell signal, which stops it for the tracer. Without a tracer
   * it goes on to the exit code that {@link Arch.withWayOut} has set.
   */
  | { readonly kind: 'bell'; readonly signal: number };

/** Where each component of the extended state lies in the kernel's buffer, by its number: the processor's to say. */
export type StateLayout = ReadonlyMap<number, { readonly offset: number; readonly size: number }>;

/** Entries of a remote program that are no system calls: their numbers. */
export const SPECIAL = {
  /** Asks the processor something, as each architecture can: two operands, where the answer goes, and whether to. */
  processor: 0,
  /** Ends the program unless two operands are equal. */
  expect: 1,
} as const;

/** What is needed of a remote program (tracee/program.ts) to ask for a layout. `Ref` stands for a call's result. */
export interface StateProgram<Ref> {
  attempt(name: SyscallName, code: number): Ref;
  askProcessor(question: number, detail: number, allowed: Ref): number;
  result(call: Ref): number;
  view(address: number, length: number): DataView;
}

/** A component of the extended state that a process has to ask the kernel for, and that takes room when it is used. */
export interface StatePermission {
  /** As people know it. */
  readonly name: string;
  readonly component: number;
  /** The system call that tells which are allowed (a mask, at its second argument), and that asks for one. */
  readonly call: { readonly name: SyscallName; readonly get: number; readonly request: number };
  readonly isUsed: (state: Uint8Array) => boolean;
  /** Code that loads the component from the state at an address, a multiple of 64, and ends with a trap. */
  readonly load: (stateAt: number) => Uint8Array;
}

/** The extended state: floating-point and vector registers, as a buffer of the kernel's. */
export interface ExtendedState {
  /** For PTRACE_GETREGSET. */
  readonly note: number;
  readonly askLayout: typeof xsave.askLayout;
  /** Why a thread could not be asked for the layout. */
  readonly layoutRefused: { readonly code: ErrorCode; readonly reason: string };
  /** How many calls that adds to a program. */
  readonly layoutCalls: number;
  /** To the image's message and back. */
  readonly toImage: typeof xsave.toFpregs;
  readonly fromImage: typeof xsave.fromFpregs;
  /** The name under which a state that the message has no fields for is kept beside the images. */
  readonly ownName: 'xsave';
  /** Whether there is more in use than the message has fields for. */
  readonly exceedsImage: (state: Uint8Array) => boolean;
  /** Whether two buffers are laid out alike. */
  readonly isLike: (state: Uint8Array, other: Uint8Array) => boolean;
  readonly permission: StatePermission;
}

export interface Arch {
  /** Number of words in {@link Registers}. */
  readonly registerCount: number;
  /** `March` of core images, and the field of them for what this architecture's threads have. */
  readonly march: number;
  readonly coreField: 'thread_info';
  /** The general registers to the image's message, and back from the field. */
  readonly toImage: typeof info.toImage;
  readonly fromImage: typeof info.fromImage;
  /** What the field holds, without the address that is cleared at the thread's end. */
  readonly threadInfo: typeof info.threadInfo;
  readonly extendedState: ExtendedState;
  /** What `cpuinfo.img` tells of processors. */
  readonly processor: {
    readonly ask: typeof cpu.askCpu;
    readonly instructions: typeof cpu.INSTRUCTIONS;
    readonly wordsOf: typeof cpu.WORDS_OF;
  };
  /** Undefined where there is no 32-bit mode. */
  readonly compat: Compat | undefined;
  /**
   * What PTRACE_POKEUSER writes, and where, for a hardware breakpoint at an address; undefined where that is set
   * otherwise.
   */
  readonly breakpoint: ((address: number) => readonly (readonly [offset: number, value: number])[]) | undefined;
  /** Code that goes on at `target`. It may change registers that a function's caller does not expect to be kept. */
  readonly jumpCode: (target: number) => Uint8Array;
  /** AUDIT_ARCH_*: the architecture that seccomp filters see. */
  readonly auditArch: number;
  /** The `syscall` instruction. */
  readonly syscallInstruction: Uint8Array;
  readonly pc: (registers: Registers) => bigint;
  /** Where the program counter is in {@link Registers}, in bytes. */
  readonly pcOffset: number;
  readonly sp: (registers: Registers) => bigint;
  /** Whether a piece of stack (32-bit words) holds a signal frame whose program counter lies in [`start`, `end`). */
  readonly returnsInto: (stack: Uint32Array, start: number, end: number) => boolean;
  /**
   * The system call that the stop interrupted and that is to be restarted: its number, arguments and -errno; undefined
   * if there is none.
   */
  readonly interrupted: (registers: Registers) => { nr: number; args: bigint[]; result: number } | undefined;
  /**
   * Registers with which the task makes the call found by {@link interrupted} again by itself, as the kernel's signal
   * code would have it do.
   */
  readonly restarted: (registers: Registers) => Registers;
  /** A system call that the stop ended with EINTR, before the task has seen the result: its number and arguments. */
  readonly cutShort: (registers: Registers) => { nr: number; args: bigint[] } | undefined;
  /**
   * Registers with which the kernel restarts the call found by {@link cutShort}, unless a signal handler runs first.
   */
  readonly resuming: (registers: Registers) => Registers;
  /** Registers of a task that is inside no system call and goes on at `pc`. */
  readonly jump: (base: Registers, pc: number) => Registers;
  /** Registers that run the program at `entries` with the code page at `code`. */
  readonly runProgram: (base: Registers, code: number, entries: number) => Registers;
  /**
   * Registers for running programs in a thread that is not ours. Without a tracer it goes on to `leave` after a
   * program.
   */
  readonly withWayOut: (base: Registers, leave: number) => Registers;
  /** What {@link withWayOut} has put there. */
  readonly wayOutOf: (registers: Registers) => number;
  /** Registers that execute one syscall instruction at `pc`. */
  readonly oneCall: (base: Registers, pc: number, nr: number, args: readonly number[]) => Registers;
  /** Address of the program entry being run (after a stop), and the result of the last call. */
  readonly programCounter: (registers: Registers) => number;
  readonly result: (registers: Registers) => number;
  /** What `enter` of a cave with a quiet bell has come to, when it rings: 0 or -errno. */
  readonly outcomeOfEntry: (registers: Registers) => number;
  /** The code page: runs programs (program.ts), then `end`. */
  readonly programCode: (end: ProgramEnd) => Uint8Array;
  /** Offset at which a task that is not ours is in {@link programCode}, when it sleeps in a call of its program. */
  readonly callReturn: number;
  readonly cave: (plan: CavePlan) => Cave;
  /** Reads what `cave` and `wayOut` have written; undefined for anything else. */
  readonly readCave: (bytes: Uint8Array, address: number, wayOutAt: number) => LeftCave | undefined;
  /**
   * Code that raises limits. From `enter` it raises them and jumps to the cave; from its start it restores them, and
   * the registers, and returns to where the task was.
   */
  readonly limitsCode: (plan: LimitsPlan) => { readonly code: Uint8Array; readonly enter: number };
  readonly wayOut: (plan: WayOutPlan) => WayOut;
  /**
   * The seed, an executable of one page that waits at the descriptor `socket`, and the address of its `syscall`
   * instruction that is followed by a trap.
   */
  readonly seed: (socket: number) => { elf: Uint8Array; callAt: number };
  /** Code of a SIGCHLD handler for Stasis itself: see death-watch.ts. */
  readonly buryCode: (tids: number) => HandlerCode;
  /** A signal handler that notes the signal's number in a word of memory: see interruption.ts. */
  readonly noteCode: (word: number) => HandlerCode;
  /** A signal handler that sends the signal on to whom a pidfd stands for: see forward.ts. */
  readonly forwardCode: (plan: ForwardPlan) => HandlerCode;
  /** A function in machine code: checksums of page contents, long sums(from, length, result). */
  readonly pageSums: () => Uint8Array;
  /** A function in machine code: reads many options of a socket, long read(socket, entries, count). */
  readonly readSocketOptions: () => Uint8Array;
  /**
   * The code page of a program that a child of ours runs in our own memory: see child-program.ts. Execution begins at
   * its first byte.
   */
  readonly detachedCode: (entries: number) => Uint8Array;
  /** Code with which a vfork child executes the seed: see seed.ts. */
  readonly spawnCode: (plan: SpawnPlan) => Uint8Array;
}

/** What a processor has for programs of its 32-bit mode, to find out whether the kernel runs them. */
export interface Compat {
  /** The call that maps the kernel's code for such programs. */
  readonly mapVdso: { readonly name: SyscallName; readonly args: readonly number[] };
  /** getpid() as such a program calls it, in code that ends with a trap. */
  readonly getpid: { readonly code: Uint8Array; readonly nr: number };
}

/** A signal handler as machine code, and the offset of the function that it returns to (SA_RESTORER). */
export interface HandlerCode {
  readonly code: Uint8Array;
  readonly restorer: number;
}

/** What a handler does that passes signals on. */
export interface ForwardPlan {
  /** Whose signals they become. */
  readonly pidfd: number;
  /** Whether it is in our process group, so that it has already got what the kernel sends to that, by the terminal. */
  readonly sameGroup: boolean;
}

/** Operands of {@link Arch.spawnCode}; addresses are those of our own memory. */
export interface SpawnPlan {
  readonly executable: number;
  readonly emptyString: number;
  readonly argv: number;
  readonly socket: number;
  readonly socketTarget: number;
  /**
   * Arguments of capset(2) that make all capabilities inheritable. With these the process keeps them when it executes
   * the file, whoever it is: as ambient ones.
   */
  readonly capabilities?: { readonly header: number; readonly sets: number } | undefined;
}
