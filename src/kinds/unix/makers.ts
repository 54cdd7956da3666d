/**
 * Pairs are made in the task that had made them: the kernel notes the process and its effective user then, for good
 * (SO_PEERCRED), and nothing else can tell it.
 */
import { AF, SOCK } from '../../kernel/constants/sockets.ts';
import { Fd, syscall } from '../../kernel/syscall.ts';
import type { Program } from '../../tracee/program.ts';
import type { RestoreTask } from '../contract.ts';
import type { PairWish, Sockets } from './rebuild.ts';

/** Pairs made by one program. */
const LOT = 100;
/** Calls for one pair: to another group and user, the pair, and back. */
const CALLS = 5;
/** An id that setresuid(2) leaves as it is. */
const SAME = -1;

/** Makes the pairs `task` is to make. It has no descriptors but its socket yet. @throws StasisError */
export function makePairs(task: RestoreTask, sockets: Sockets): void {
  const wishes = sockets.wishesOf(task);
  for (let at = 0; at < wishes.length; at += LOT) makeSome(task, wishes.slice(at, at + LOT));
}

function makeSome(task: RestoreTask, wishes: readonly PairWish[]): void {
  task.batch.flush();
  const program = task.batch.reserve(CALLS * wishes.length, 8 * wishes.length);
  const made = wishes.map((wish) => {
    const ends = program.space(8);
    as(program, wish, () => program.call('socketpair', AF.UNIX, wish.type | SOCK.CLOEXEC, 0, ends));
    return ends;
  });
  task.batch.flush();
  using pidfd = new Fd(syscall('pidfd_open', task.pid, 0));
  const borrow = (number: number): Fd => new Fd(syscall('pidfd_getfd', pidfd.number, number, 0));
  wishes.forEach(({ deliver }, i) => {
    const ends = program.view(made[i] ?? 0, 8);
    const [one, other] = [ends.getInt32(0, true), ends.getInt32(4, true)];
    deliver([borrow(one), borrow(other)]);
    task.batch.call('close', one);
    task.batch.call('close', other);
  });
}

/** Real and saved ids stay, so that there is a way back. */
function as(program: Program, { uid, gid }: PairWish, work: () => void): void {
  const [user = 0, group = 0] = [process.geteuid?.(), process.getegid?.()];
  const other = { uid: uid === user ? undefined : uid, gid: gid === group ? undefined : gid };
  if (other.gid !== undefined) program.call('setresgid', SAME, other.gid, SAME);
  if (other.uid !== undefined) program.call('setresuid', SAME, other.uid, SAME);
  work();
  if (other.uid !== undefined) program.call('setresuid', SAME, user, SAME);
  if (other.gid !== undefined) program.call('setresgid', SAME, group, SAME);
}
