/** The error for a PID that cannot be given out because somebody uses its number. */
import { hostPid, ownPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { type Holder, holdersOf } from './proc/holders.ts';
import { threadsOf } from './proc/tree.ts';

/** How many of those who have a number are named. */
const NAMED = 3;

/** Names a process, as `task 17 (sleep)`. */
function nameOf({ pid, comm }: { readonly pid: number; readonly comm: string }): string {
  return `task ${pid}${comm ? ` (${comm})` : ''}`;
}

/** Names processes: the first few, and how many more there are. */
export function namesOf(tasks: readonly { readonly pid: number; readonly comm: string }[]): string {
  const named = tasks.slice(0, NAMED).map(nameOf);
  if (tasks.length > NAMED) named.push(`${tasks.length - NAMED} more`);
  const last = named.pop() ?? 'somebody';
  return named.length > 0 ? `${named.join(', ')} and ${last}` : last;
}

/**
 * Tells who has the number of a PID that is wanted, as what, and what can be done about it.
 * @param remedy what can be done besides ending whoever has it
 */
export function pidInUse(number: number, remedy = 'restore inside a new PID namespace'): StasisError {
  const { reason, end } = explain(holdersOf(number));
  return new StasisError({
    kind: 'conflict',
    code: 'PID_TAKEN',
    resource: `PID ${number}`,
    reason,
    remedy: `${end}, or ${remedy}`,
  });
}

function explain(holders: readonly Holder[]): { readonly reason: string; readonly end: string } {
  const inUse = 'the PID the saved process had is in use';
  const [first] = holders;
  const others = holders.filter(({ role }) => role === 'session' || role === 'group');
  switch (first?.role) {
    case undefined:
      return { reason: inUse, end: 'try again' };
    case 'process':
    case 'thread':
      if (isOurs(first)) return { reason: `${inUse}: Stasis itself was given it`, end: 'start it again' };
      if (first.role === 'process') return { reason: `${inUse}: ${nameOf(first)} has it`, end: 'end that process' };
      return { reason: `${inUse}: a thread called ${first.comm} has it`, end: 'end its process' };
    case 'zombie': {
      const { parent } = first;
      const who = parent ? nameOf(parent) : 'its parent';
      const reason = `${inUse}: ${nameOf(first)} has ended, and ${who} has not waited for it`;
      if (parent?.pid === 1) return { reason, end: 'try again in a moment' };
      return { reason, end: `have ${who} wait for its children, or end it` };
    }
    default: {
      const what = others.every(({ role }) => role === 'group') ? 'process group' : 'session';
      const reason = `${inUse} as the number of a ${what}: ${namesOf(others)} ${others.length > 1 ? 'are' : 'is'} in it`;
      return { reason, end: `end ${namesOf(others)}` };
    }
  }
}

/** Whether it is this process or a thread of it. */
function isOurs({ pid, role }: Holder): boolean {
  return pid === process.pid || (role === 'thread' && threadsOf(ownPid()).includes(hostPid(pid)));
}
