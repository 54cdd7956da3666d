/**
 * Numbers that must not be taken for one another. A brand is a type only: at run time it is the plain number, so that
 * it costs nothing, and wherever any number will do (an argument of a system call, a message) a branded one is one.
 */

declare const BRAND: unique symbol;
/** Only what was declared to be such a number is one. */
type Branded<Base, Name extends string> = Base & { readonly [BRAND]: Name };
/** Any plain number will do, but none that is branded otherwise: for what is the result of arithmetic as a rule. */
type NotBrandedOtherwise<Name extends string> = number & { readonly [BRAND]?: Name };

/**
 * The ID of a process or thread in the PID namespace that Stasis is in: what kill(2), ptrace(2) and /proc take. A
 * process has one in each PID namespace from its own up to the initial one.
 */
export type HostPid = Branded<number, 'HostPid'>;

/** The ID of a process or thread in its own PID namespace, as it sees it itself: what images hold. */
export type SavedPid = Branded<number, 'SavedPid'>;

/** A descriptor of ours. */
export type LocalFd = Branded<number, 'LocalFd'>;

/** A descriptor of a task: its number there. */
export type TaskFd = Branded<number, 'TaskFd'>;

/** An address in our own memory. */
export type LocalAddress = Branded<number, 'LocalAddress'>;

/** An address in the memory of a task. */
export type TaskAddress = NotBrandedOtherwise<'TaskAddress'>;

/** What a task can be asked to pass to the kernel: nothing that is ours, a descriptor or an address. */
export type TaskNumber = NotBrandedOtherwise<'HostPid' | 'SavedPid' | 'TaskFd' | 'TaskAddress'>;

/**
 * What we can pass to the kernel ourselves: any number but a PID of images, which is that of another process here if
 * the tree has a PID namespace of its own.
 */
export type LocalNumber = NotBrandedOtherwise<
  'HostPid' | 'LocalFd' | 'TaskFd' | 'LocalAddress' | 'TaskAddress' | 'Milliseconds' | 'Nanoseconds'
>;

export type Milliseconds = NotBrandedOtherwise<'Milliseconds'>;
export type Nanoseconds = NotBrandedOtherwise<'Nanoseconds'>;

/** Says that a number is the ID of a process or thread as we see it: one from /proc, from the kernel, from the user. */
export const hostPid = (pid: number): HostPid => pid as HostPid;

/** Our own. */
export const ownPid = (): HostPid => process.pid as HostPid;

/** Says that a number is the ID of a process or thread as it sees it itself: one from an image. */
export const savedPid = (pid: number): SavedPid => pid as SavedPid;

/** Says that a number is a descriptor of ours. */
export const localFd = (fd: number): LocalFd => fd as LocalFd;

/** Says that a number is a descriptor of a task. */
export const taskFd = (fd: number): TaskFd => fd as TaskFd;

/** Stands for the number of an open file that a task has no descriptor for: it is mapped, or under way in a message. */
export const NO_FD = taskFd(-1);

/** Our standard input. */
export const STDIN = localFd(0);
