/** The type of a kernel feature in `check`: how to probe it, what needs it, and what provides it. */
import type { SyscallName } from '../../arch/syscall-numbers.ts';
import { describeErrno } from '../../kernel/syscall.ts';

/**
 * CRIU's classes. Without a `required` feature nothing works; `extra` ones are needed for some programs; `named` ones
 * are probed only by name; `experimental` ones are recent.
 */
export type Category = 'required' | 'extra' | 'experimental' | 'named';

/**
 * Probes a feature by using it, in Stasis or in a process made for it. Returns undefined if the kernel has it, else the
 * reason why not; a StasisError it throws is a reason, too. Leaves nothing behind.
 */
export type Probe = () => string | undefined;

/** A feature that can be probed. */
export interface Feature {
  /** CRIU's name where it has one (`check --feature NAME`). */
  readonly name: string;
  readonly category: Category;
  /** Set if CRIU has no name for the feature; it is then probed only together with all others. */
  readonly unnamed?: true;
  readonly probe: Probe;
  /** What needs the feature, as the rest of the sentence "needed for …". */
  readonly neededFor: string;
  /** The kernel version, configuration option or package that provides it. */
  readonly remedy: string;
  /**
   * Whether the feature applies to this machine; where it does not (for example with another security module), it does
   * not count as missing.
   */
  readonly applies?: () => boolean;
}

/** The result of a probe. */
export interface Finding {
  readonly feature: Feature;
  /** Why it is missing; undefined when it is there. */
  readonly missing: string | undefined;
}

/** The result of a probe that is one call: undefined if the call succeeded, else the kernel's error. */
export function refusal(call: SyscallName, result: number): string | undefined {
  return result < 0 ? `${call}: ${describeErrno(result)}` : undefined;
}
