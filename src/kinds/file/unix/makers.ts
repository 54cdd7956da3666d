/**
 * Makes socket pairs in the task that had made them, since the kernel records the process and its effective user at
 * that moment (SO_PEERCRED), and they cannot be set otherwise. A maker that has ended is replaced by a short-lived
 * process with its PID, if that is free.
 */
import { StasisError } from '../../../base/errors.ts';
import type { RestoreTask } from '../../../contract/contract.ts';
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { borrow, openPidfd } from '../../../kernel/pidfd.ts';
import { Fd } from '../../../kernel/syscall.ts';
import type { Program } from '../../../tracee/program.ts';
import type { Remote } from '../../../tracee/remote.ts';
import { Seed } from '../../../tracee/seed.ts';
import type { PairRequest, Sockets } from './rebuild.ts';

/** Pairs made by one program. */
const LOT = 100;
/** An ID of -1, which setresuid(2) leaves unchanged. */
const SAME = -1;

/**
 * Makes the pairs that `task` is responsible for. The task has no descriptor but its socket yet. @throws StasisError
 */
export function makePairs(task: RestoreTask, sockets: Sockets): void {
  const byMaker = new Map<number, PairRequest[]>();
  for (const request of sockets.requestsOf(task)) {
    const pid = request.maker?.[0] ?? task.pid;
    const requests = byMaker.get(pid);
    if (requests) requests.push(request);
    else byMaker.set(pid, [request]);
  }
  for (const [pid, requests] of byMaker) {
    using ghost = pid === task.pid ? undefined : recreateMaker(pid, task);
    if (!ghost) task.batch.flush();
    const { remote, tracee } = ghost ?? task;
    for (let at = 0; at < requests.length; at += LOT) make(remote, tracee.pid, requests.slice(at, at + LOT));
  }
}

/** Makes a process with the PID of a maker that has ended; undefined if the PID is in use. */
function recreateMaker(pid: number, task: RestoreTask): Seed | undefined {
  try {
    return Seed.create({ pid, sibling: false, taken: new Set() }, task.remote.area);
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    const reason = 'which had made sockets, is another process now: SO_PEERCRED will tell of';
    task.context.notice({ resource: `PID ${pid}`, reason: `${reason} ${task.pid}` });
    return undefined;
  }
}

function make(remote: Remote, pid: number, requests: readonly PairRequest[]): void {
  const { program, built } = remote.do((program) => requests.map((request) => addPair(program, request)));
  using pidfd = openPidfd(pid);
  const numbers = built.map((at) => {
    const ends = program.view(at, 8);
    return [ends.getInt32(0, true), ends.getInt32(4, true)] as const;
  });
  requests.forEach(({ deliver }, i) => {
    const [one, other] = numbers[i] ?? [-1, -1];
    deliver([new Fd(borrow(pidfd, one)), new Fd(borrow(pidfd, other))]);
  });
  remote.do((closing) => {
    for (const number of numbers.flat()) closing.call('close', number);
  });
}

/**
 * Adds the calls that make a pair as the user and group that had made it. Returns the address of its descriptor
 * numbers.
 */
function addPair(program: Program, { type, maker }: PairRequest): number {
  const ends = program.space(8);
  const [, uid, gid] = maker ?? [];
  const [user = 0, group = 0] = [process.geteuid?.(), process.getegid?.()];
  // Real and saved IDs stay, so that the effective ID can be changed back. If the change is refused, the pair is made
  // anyway.
  if (gid !== undefined && gid !== group) program.attempt('setresgid', SAME, gid, SAME);
  if (uid !== undefined && uid !== user) program.attempt('setresuid', SAME, uid, SAME);
  program.call('socketpair', AF.UNIX, type | SOCK.CLOEXEC, 0, ends);
  if (uid !== undefined && uid !== user) program.call('setresuid', SAME, user, SAME);
  if (gid !== undefined && gid !== group) program.call('setresgid', SAME, group, SAME);
  return ends;
}
