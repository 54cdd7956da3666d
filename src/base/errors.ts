/**
 * The errors people and programs see. Each names what kind of failure it is (kind), the task it concerns (task), the
 * file, address or option it is about (resource), why it failed (reason) and what helps (remedy). People get one
 * sentence, `--json` prints the object.
 */

import type { ErrorCode } from './error-codes.ts';

/** What went wrong, coarsely; {@link ErrorCode} tells exactly. */
export type ErrorKind =
  | 'usage' // the command line, a config file or an RPC request is wrong
  | 'image' // an image file is missing, damaged or does not fit the others
  | 'unsupported' // state that cannot be carried (yet)
  | 'conflict' // the machine as it is now is in the way: PID taken, file changed
  | 'permission' // a capability or access right is missing
  | 'kernel' // the kernel refused something that should have worked
  | 'io' // reading or writing Stasis' own files failed
  | 'interrupted' // a signal asked Stasis to end
  | 'gone' // the task does not exist, or ended while Stasis worked on it
  | 'internal'; // a bug in Stasis

/** The task an error is about. */
export interface TaskRef {
  readonly pid: number;
  readonly comm?: string | undefined;
}

/** A task that has the thing an error is about, and the descriptors it has it under, if it is an open file. */
export interface Holder {
  readonly task: TaskRef;
  readonly fds: readonly number[];
}

/**
 * What an object of the kernel is, for programs: `type` (`socket`, `file`, `net namespace`, …) and what that type has.
 */
export interface ObjectFacts {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface Facts {
  readonly reason: string;
  readonly task?: TaskRef | undefined;
  /** The number of the task's descriptor; `resource` then says what is open under it. */
  readonly fd?: number | undefined;
  /** The file, path, address, option or image the error is about. */
  readonly resource?: string | undefined;
  /** What removes the cause: an option, a capability, a command. */
  readonly remedy?: string | undefined;
  /** All tasks it is about, where there are several, or several descriptors; `task` and `fd` are the first's. */
  readonly holders?: readonly Holder[] | undefined;
  readonly object?: ObjectFacts | undefined;
  readonly cause?: unknown;
}

/**
 * Everything an error can say; only `kind` and `reason` are mandatory. What cannot be carried has a code of its own, so
 * that programs tell one obstacle from another; elsewhere the code is that of the kind unless another is given.
 */
export type ErrorFacts = Facts &
  (
    | { readonly kind: 'unsupported'; readonly code: ErrorCode }
    | { readonly kind: Exclude<ErrorKind, 'unsupported'>; readonly code?: ErrorCode | undefined }
  );

/** The one error class of the project; specialised errors (images, syscalls) extend it. */
export class StasisError extends Error {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly task: TaskRef | undefined;
  readonly fd: number | undefined;
  readonly resource: string | undefined;
  readonly reason: string;
  readonly remedy: string | undefined;
  readonly holders: readonly Holder[] | undefined;
  readonly object: ObjectFacts | undefined;

  constructor(facts: ErrorFacts) {
    super(sentence(facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = 'StasisError';
    this.kind = facts.kind;
    this.code = facts.code ?? codeOfKind(facts.kind);
    this.task = facts.task;
    this.fd = facts.fd;
    this.resource = facts.resource;
    this.reason = facts.reason;
    this.remedy = facts.remedy;
    this.holders = facts.holders;
    this.object = facts.object;
  }

  /** The same error, with some of its facts replaced. */
  with(facts: Partial<Facts>): StasisError {
    const { code, kind, task, fd, resource, reason, remedy, holders, object, cause } = this;
    const own = { code, kind, task, fd, resource, reason, remedy, holders, object, cause };
    return new StasisError({ ...own, ...facts } as ErrorFacts); // kind and code belong together
  }

  /** The object `--json` prints. */
  toJSON(): Record<string, unknown> {
    const { code, kind, task, fd, resource, reason, remedy, object } = this;
    const holders = this.holders?.map(({ task: { pid, comm }, fds }) => ({ pid, comm, fds }));
    return { code, kind, task, fd, resource, reason, remedy, object, holders };
  }
}

/** A signal has asked Stasis to end, and the work was given up. */
export class InterruptedError extends StasisError {
  readonly signal: number;

  /** `outcome`: what has become of the tasks. */
  constructor(signal: number, outcome = '') {
    super({ kind: 'interrupted', reason: outcome });
    this.name = 'InterruptedError';
    this.signal = signal;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), signal: this.signal };
  }
}

/** Several obstacles found at once (the preflight lists them all). */
export class ObstacleError extends StasisError {
  readonly obstacles: readonly StasisError[];

  constructor(reason: string, obstacles: readonly StasisError[]) {
    super({ kind: 'unsupported', code: 'OBSTACLES', reason });
    this.name = 'ObstacleError';
    this.obstacles = obstacles;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), obstacles: this.obstacles.map((o) => o.toJSON()) };
  }
}

/** The code of an error that has none of its own. */
function codeOfKind(kind: ErrorKind): ErrorCode {
  return kind.toUpperCase() as Uppercase<Exclude<ErrorKind, 'unsupported'>>;
}

/** What an error or notice says, in one sentence for people and logs: whose, what, why. */
export function sentence(facts: Facts): string {
  const { who, fds } = subjectOf(facts);
  return [who, described(fds, facts.resource), facts.reason].filter(Boolean).join(': ');
}

/** The same where it is clear whose it is: there is one task only. */
export function sentenceWithoutTask(facts: Facts): string {
  return [described(subjectOf(facts).fds, facts.resource), facts.reason].filter(Boolean).join(': ');
}

/** Tasks and descriptors told by name; the rest is counted. */
const MOST_TASKS = 3;
const MOST_FDS = 4;

/** Whom an error is about; the descriptors are told apart from the tasks where they are the same in all of them. */
function subjectOf({ task, fd, holders }: Facts): { who: string; fds: readonly number[] } {
  if (!holders) return { who: task ? `task ${nameOf(task)}` : '', fds: fd === undefined ? [] : [fd] };
  const [first, ...others] = holders;
  if (!first) return { who: '', fds: [] };
  if (others.length === 0) return { who: `task ${nameOf(first.task)}`, fds: first.fds };
  const same = (other: Holder): boolean => other.task.comm === first.task.comm && `${other.fds}` === `${first.fds}`;
  if (others.every(same)) {
    const pids = listed(holders.map(({ task }) => `${task.pid}`));
    return { who: `tasks ${pids}${first.task.comm ? ` (${first.task.comm})` : ''}`, fds: first.fds };
  }
  const each = holders.map(({ task, fds }) => `${nameOf(task)}${fds.length > 0 ? ` ${fdsOf(fds)}` : ''}`);
  return { who: `tasks ${listed(each)}`, fds: [] };
}

function nameOf({ pid, comm }: TaskRef): string {
  return `${pid}${comm ? ` (${comm})` : ''}`;
}

function described(fds: readonly number[], resource: string | undefined): string {
  if (fds.length === 0) return resource ?? '';
  return `${fdsOf(fds)}${resource ? ` (${resource})` : ''}`;
}

function fdsOf(fds: readonly number[]): string {
  return fds.length === 1 ? `fd ${fds[0]}` : `fds ${listed(fds.map(String), MOST_FDS)}`;
}

/** `a, b and c`, or `a, b, c and 4 more`. */
function listed(words: readonly string[], most = MOST_TASKS): string {
  const shown = words.length > most ? [...words.slice(0, most), `${words.length - most} more`] : words;
  return shown.length < 2 ? shown.join() : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
}

/**
 * How the kernel names what went wrong (`ENOENT`), of an error of node:fs or of a system call of ours; undefined of
 * others.
 */
export function errnoNameOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null) return undefined;
  if (thrown instanceof StasisError) return 'errnoName' in thrown ? String(thrown.errnoName) : undefined;
  return 'code' in thrown ? String(thrown.code) : undefined;
}

/** Turns anything thrown into a StasisError, so that nobody ever sees a stack trace for bad input. */
export function asStasisError(thrown: unknown): StasisError {
  if (thrown instanceof StasisError) return thrown;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new StasisError({ kind: 'internal', reason: `unexpected: ${reason}`, cause: thrown });
}
