/**
 * How many clients the service serves at a time. Each has a process of some ten MiB, and may leave it idle, so that one
 * user could take the memory and the process IDs of all. Root is not counted: it could anyway.
 */
import { hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { childrenOfThread } from '../kernel/proc/tree.ts';

/** The most clients at a time of one user, and of all users but root. */
const [OF_ONE, OF_ALL] = [32, 128];

/** The clients that are served. */
export class Crowd {
  /** The users of clients, by the processes that serve them. */
  readonly #users = new Map<number, number>();
  readonly #children: () => Iterable<number>;

  /** `children`: the processes that serve clients, and are there still. */
  constructor(children: () => Iterable<number> = ownChildren) {
    this.#children = children;
  }

  /** Why a further client of a user is not served: it has too many already, or all have together. */
  whyFull(uid: number): StasisError | undefined {
    if (uid === 0) return undefined;
    const living = new Set(this.#children());
    let [ofOne, ofAll] = [0, 0];
    for (const [pid, user] of this.#users) {
      if (!living.has(pid)) this.#users.delete(pid);
      else if (user !== 0) {
        ofAll++;
        if (user === uid) ofOne++;
      }
    }
    const many = ofOne >= OF_ONE ? `user ${uid} has ${ofOne}` : ofAll >= OF_ALL ? `all users have ${ofAll}` : undefined;
    if (many === undefined) return undefined;
    const reason = `${many} connections, and more are not served`;
    return new StasisError({ kind: 'conflict', resource: 'the service', reason, remedy: 'close some, or wait' });
  }

  /** Notes that a process serves a client of a user. */
  note(pid: number, uid: number): void {
    this.#users.set(pid, uid);
  }
}

function ownChildren(): number[] {
  const self = hostPid(process.pid);
  return childrenOfThread(self, self);
}
