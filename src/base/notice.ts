/**
 * Notices: what a person has to know although the work goes on, because some state is lost or changed. Kinds give them,
 * the engine returns them with its outcome, and whoever started the work shows them; see `cli/report.ts`.
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

  constructor({ task, resource, reason, remedy }: NoticeFacts) {
    this.task = task;
    this.resource = resource;
    this.reason = reason;
    this.remedy = remedy;
  }

  /** The sentence people read and logs keep. */
  get message(): string {
    return sentence(this);
  }
}

/** The notices of one dump, restore or preflight. An object that several tasks share gives one notice. */
export class Notices {
  readonly #known = new Map<string, Notice>();

  /** Adds a notice, unless there is one with the same reason for the same object. */
  add(facts: NoticeFacts): void {
    const key = `${facts.resource ?? facts.task?.pid ?? ''}: ${facts.reason}`;
    if (!this.#known.has(key)) this.#known.set(key, new Notice(facts));
  }

  /** All notices, in the order they were added. */
  get list(): readonly Notice[] {
    return [...this.#known.values()];
  }
}
