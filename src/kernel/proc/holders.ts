/**
 * Who uses a number as a PID, as a session or as a process group. The kernel keeps one `struct pid` for all of them,
 * and gives the number out again only when it is nothing any more (`free_pid()` in kernel/pid.c): clone3(2) with
 * `set_tid` fails with EEXIST as long as anybody is in a session or group of that number, its leader dead or not.
 */
import { hostPid } from '../../base/brands.ts';

import { ERRNO, trySyscall } from '../syscall.ts';
import { readProc } from './read.ts';
import { parseStat } from './stat.ts';
import { parseStatus } from './status.ts';
import { allProcesses, unlessGone } from './tree.ts';

/** A process, with the session and the group it is in; 0 for those of another PID namespace. */
export interface Membership {
  readonly pid: number;
  readonly pgid: number;
  readonly sid: number;
}

/** What a number is used as. */
export type HolderRole = 'process' | 'zombie' | 'thread' | 'session' | 'group';

/** Somebody who keeps a number from being given out. */
export interface Holder {
  readonly pid: number;
  /** Empty for somebody who has gone meanwhile. */
  readonly comm: string;
  readonly role: HolderRole;
  /** Of a zombie: who has not reaped it. */
  readonly parent?: { readonly pid: number; readonly comm: string } | undefined;
}

/** Whether a number is nobody's PID, session or group: pidfd_open(2) fails with EINVAL or ENOENT for the latter two. */
export function isUnused(number: number): boolean {
  const pidfd = trySyscall('pidfd_open', number, 0);
  if (pidfd >= 0) trySyscall('close', pidfd);
  return pidfd === -ERRNO.ESRCH;
}

/** Whether a number is used by zombies only: it will be free when somebody has waited for them. */
export function isZombies(number: number): boolean {
  return holdersOf(number).every(({ pid }) => {
    const state = unlessGone(() => parseStat(readProc(hostPid(pid), 'stat')).state);
    return state === undefined || state === 'Z';
  });
}

/**
 * All processes, zombies among them, or those of some sessions. That takes a call for each process there is, instead of
 * a file: there may be thousands.
 */
export function memberships(sessions?: ReadonlySet<number>): Membership[] {
  const found: Membership[] = [];
  for (const pid of allProcesses()) {
    const sid = trySyscall('getsid', pid);
    if (sid < 0 || (sessions && !sessions.has(sid))) continue;
    const pgid = trySyscall('getpgid', pid);
    if (pgid >= 0) found.push({ pid, pgid, sid });
  }
  return found;
}

/** Who uses a number, the process or thread that has it as its PID first; nobody if all have gone meanwhile. */
export function holdersOf(number: number, processes: readonly Membership[] = memberships()): Holder[] {
  const own = taskOf(number);
  const members = processes.flatMap(({ pid, pgid, sid }): Holder[] => {
    if (pid === number || (pgid !== number && sid !== number)) return [];
    return [{ pid, comm: commOf(pid), role: sid === number ? 'session' : 'group' }];
  });
  return own ? [own, ...members] : members;
}

function taskOf(number: number): Holder | undefined {
  return unlessGone(() => {
    const { comm, state, ppid } = parseStat(readProc(hostPid(number), 'stat'));
    if (state === 'Z') return { pid: number, comm, role: 'zombie', parent: { pid: ppid, comm: commOf(ppid) } };
    // /proc/TID exists for every thread, and is listed for processes only.
    const { tgid } = parseStatus(readProc(hostPid(number), 'status'));
    return { pid: number, comm, role: tgid === number ? 'process' : 'thread' };
  });
}

/** The name of a process; empty if it has gone. */
export function commOf(pid: number): string {
  return unlessGone(() => parseStat(readProc(hostPid(pid), 'stat')).comm) ?? '';
}
