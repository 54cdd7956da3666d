/**
 * The system call table of the machine we run on.
 *
 * To add an architecture: write its table (same names; what it lacks is left out and shows up as a type error where
 * it is used) and name it here.
 */
import { NR_X86_64 } from './x86-64/syscall-numbers.ts';

/** Every system call known by name. */
export type SyscallName = keyof typeof NR_X86_64;

/** Name → number; -1 for what the architecture does not have. */
export type SyscallTable = Readonly<Record<SyscallName, number>>;

const TABLES: Readonly<Record<string, SyscallTable | undefined>> = { x64: NR_X86_64 };

const table = TABLES[process.arch];

/** The table of this machine. On an architecture without one every number is -1, so that calls fail with ENOSYS. */
export const NR: SyscallTable = table ?? new Proxy(NR_X86_64, { get: () => -1 });
