/** What a kernel feature is to `check`: how to find out, what it is for, and what to do without. */
import type { SyscallName } from '../../arch/syscall-numbers.ts';
import { describeErrno } from '../../kernel/syscall.ts';

/**
 * CRIU's classes. Without a `required` feature nothing works; `extra` ones are needed for some programs; the rest is
 * asked for by name (`named`) or tells of something young (`experimental`).
 */
export type Category = 'required' | 'extra' | 'experimental' | 'named';

/**
 * Looks for a feature by using it, here or in a process made for it. Answers undefined when it is there, else why it is
 * not. May throw a StasisError, which is an answer too. Leaves nothing behind.
 */
export type Probe = () => string | undefined;

/** A feature that can be looked for. */
export interface Feature {
  /** CRIU's name where it has one (`check --feature NAME`). */
  readonly name: string;
  readonly category: Category;
  /** Whether CRIU knows it by name; the others are only looked for together. */
  readonly unnamed?: true;
  readonly probe: Probe;
  /** What cannot be done without, as the rest of the sentence "needed for …". */
  readonly neededFor: string;
  /** Kernel version, configuration or package that brings it. */
  readonly remedy: string;
  /** Where it has no meaning (another security module), it is not missing either. */
  readonly applies?: () => boolean;
}

/** What was found out about a feature. */
export interface Finding {
  readonly feature: Feature;
  /** Why it is missing; undefined when it is there. */
  readonly missing: string | undefined;
}

/** The answer of a probe that is one call: nothing if it succeeded, else what the kernel said. */
export function refusal(call: SyscallName, result: number): string | undefined {
  return result < 0 ? `${call}: ${describeErrno(result)}` : undefined;
}
