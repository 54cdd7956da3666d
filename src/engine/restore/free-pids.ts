/** Checks that the PIDs a restore needs are free. */
import { nap } from '../../kernel/nap.ts';
import { pidInUse } from '../../kernel/pid-in-use.ts';
import { holdersOf, isZombies } from '../../kernel/proc/holders.ts';
import type { Claim } from '../tree-plan/claims.ts';

/**
 * How long to wait for a zombie to be reaped, also by an init process, which does so at last though the machine may be
 * busy; and the time between two checks; in milliseconds.
 */
const REAPING = { limit: 500, byInit: 10_000, pause: 5 } as const;

/**
 * Whether a number is free, or becomes free soon: whoever killed the tree may have left zombies to a process that is
 * about to reap them, like the init process of a container.
 */
function becomesUnused(number: number, isUnused: (pid: number) => boolean): boolean {
  if (isUnused(number)) return true;
  if (!isZombies(number)) return false;
  const isInits = holdersOf(number).every(({ parent }) => parent?.pid === 1);
  const limit = isInits ? REAPING.byInit : REAPING.limit;
  for (let waited = 0; waited < limit; waited += REAPING.pause) {
    nap(REAPING.pause * 1e6);
    if (isUnused(number)) return true;
  }
  return false;
}

/**
 * All numbers a restore needs must be free, before there is any process; `tids` are those of threads. With `joins`,
 * tasks may be born in our session.
 * @throws StasisError kind 'conflict' that tells who has one, and as what
 */
export function requireUnused(
  claims: readonly Claim[],
  tids: readonly number[],
  joins: boolean,
  isUnused: (pid: number) => boolean,
): void {
  const taken = claims.find(({ number }) => !becomesUnused(number, isUnused));
  if (taken) {
    const remedy = taken.use === 'session' && !joins ? 'give --shell-job to let the task join our session' : undefined;
    throw pidInUse(taken.number, remedy);
  }
  for (const tid of tids) if (!becomesUnused(tid, isUnused)) throw pidInUse(tid);
}
