/**
 * The errors people and programs see. Each names what kind of failure it is (kind), the task it concerns (task), the
 * file, address or option it is about (resource), why it failed (reason) and what helps (remedy). People get one
 * sentence, `--json` prints the object.
 */

/** What went wrong, coarsely; programs branch on it. */
export type ErrorKind =
  | 'usage' // the command line, a config file or an RPC request is wrong
  | 'image' // an image file is missing, damaged or does not fit the others
  | 'unsupported' // state that cannot be carried (yet)
  | 'conflict' // the machine as it is now is in the way: PID taken, file changed
  | 'permission' // a capability or access right is missing
  | 'kernel' // the kernel refused something that should have worked
  | 'io' // reading or writing Stasis' own files failed
  | 'gone' // the task does not exist, or ended while Stasis worked on it
  | 'internal'; // a bug in Stasis

/** The task an error is about. */
export interface TaskRef {
  readonly pid: number;
  readonly comm?: string | undefined;
}

/** Everything an error can say; only `kind` and `reason` are mandatory. */
export interface ErrorFacts {
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly task?: TaskRef | undefined;
  /** The fd, path, address, option or image the error is about. */
  readonly resource?: string | undefined;
  /** What removes the cause: an option, a capability, a command. */
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
}

/** The one error class of the project; specialised errors (images, syscalls) extend it. */
export class StasisError extends Error {
  readonly kind: ErrorKind;
  readonly task: TaskRef | undefined;
  readonly resource: string | undefined;
  readonly reason: string;
  readonly remedy: string | undefined;

  constructor(facts: ErrorFacts) {
    super(sentence(facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = 'StasisError';
    this.kind = facts.kind;
    this.task = facts.task;
    this.resource = facts.resource;
    this.reason = facts.reason;
    this.remedy = facts.remedy;
  }

  /** The object `--json` prints. */
  toJSON(): Record<string, unknown> {
    return {
      kind: this.kind,
      task: this.task,
      resource: this.resource,
      reason: this.reason,
      remedy: this.remedy,
    };
  }
}

/** Several obstacles found at once (the preflight lists them all). */
export class ObstacleError extends StasisError {
  readonly obstacles: readonly StasisError[];

  constructor(reason: string, obstacles: readonly StasisError[]) {
    super({ kind: 'unsupported', reason });
    this.name = 'ObstacleError';
    this.obstacles = obstacles;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), obstacles: this.obstacles.map((o) => o.toJSON()) };
  }
}

/** The sentence for people: the task, the resource, then the reason. */
export function sentence(facts: Pick<ErrorFacts, 'task' | 'resource' | 'reason'>): string {
  const who = facts.task ? `task ${facts.task.pid}${facts.task.comm ? ` (${facts.task.comm})` : ''}: ` : '';
  const what = facts.resource ? `${facts.resource}: ` : '';
  return `${who}${what}${facts.reason}`;
}

/** Turns anything thrown into a StasisError, so that nobody ever sees a stack trace for bad input. */
export function asStasisError(thrown: unknown): StasisError {
  if (thrown instanceof StasisError) return thrown;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new StasisError({ kind: 'internal', reason: `unexpected: ${reason}`, cause: thrown });
}
