/**
 * Notices: what a person has to know although the work goes on, because some state is lost or changed. Kinds give them,
 * the engine returns them with its outcome, and whoever started the work shows them; see `api/report.ts`.
 */
import { sentence, type TaskRef } from './errors.ts';

/** What a notice can say; only `reason` is mandatory. As with errors, which name the same things. */
export interface NoticeFacts {
  readonly reason: string;
  readonly task?: TaskRef | undefined;
  /** The fd, path, address or option it is about. */
  readonly resource?: string | undefined;
  /** What avoids it. */
  readonly remedy?: string | undefined;
}

/** One thing a person has to know. */
export class Notice {
  readonly task: TaskRef | undefined;
  readonly resource: string | undefined;
  readonly reason: string;
  readonly remedy: string | undefined;
  /** How many more tasks it is true of. */
  others = 0;

  constructor({ task, resource, reason, remedy }: NoticeFacts) {
    this.task = task;
    this.resource = resource;
    this.reason = reason;
    this.remedy = remedy;
  }

  /** The sentence people read and logs keep. */
  get message(): string {
    const more = this.others === 0 ? '' : ` (and ${this.others} more ${this.others === 1 ? 'task' : 'tasks'})`;
    return `${sentence(this)}${more}`;
  }
}

/** The notices of one dump, restore or preflight. An object that several tasks share gives one notice. */
export class Notices {
  readonly #known = new Map<string, { readonly notice: Notice; readonly pids: Set<number | undefined> }>();

  /** Adds a notice. If there is one with the same reason for the same object, only its tasks are counted. */
  add(facts: NoticeFacts): void {
    const key = `${facts.resource ?? ''}: ${facts.reason}`;
    const known = this.#known.get(key) ?? { notice: new Notice(facts), pids: new Set() };
    this.#known.set(key, known);
    known.pids.add(facts.task?.pid);
    known.notice.others = known.pids.size - 1;
  }

  /** All notices, in the order they were added. */
  get list(): readonly Notice[] {
    return [...this.#known.values()].map(({ notice }) => notice);
  }
}
