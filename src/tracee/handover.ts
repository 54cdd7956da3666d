/** Hands descriptors over to a task through the socket it shares with Stasis (SCM_RIGHTS). */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { F } from '../kernel/constants/files.ts';
import { MSG, SCM_MAX_FD } from '../kernel/constants/sockets.ts';
import { decodeControl, encodeControl, Msghdr, rightsSpace } from '../kernel/layouts/sockets.ts';
import { openPidfd } from '../kernel/pidfd.ts';
import { trySendMessage } from '../kernel/sockets.ts';
import { SyscallError } from '../kernel/syscall.ts';
import type { Batch } from './batch.ts';
import type { Seed } from './seed.ts';

/**
 * Gives the task the open files behind our descriptors `locals`. Returns the numbers the kernel assigned in the task,
 * in the same order. All calls in the batch have run afterwards.
 * @throws StasisError kind 'permission' if the task cannot take all of them
 */
export function handOver(seed: Seed, batch: Batch, locals: readonly LocalFd[]): number[] {
  if (unsendable.size === 0) return handOverAll(seed, batch, locals);
  const arrived: number[] = [];
  let sendable: LocalFd[] = [];
  for (const local of locals) {
    if (!unsendable.has(local)) {
      sendable.push(local);
      continue;
    }
    arrived.push(...handOverAll(seed, batch, sendable), fetch(seed, batch, local));
    sendable = [];
  }
  return [...arrived, ...handOverAll(seed, batch, sendable)];
}

/** Descriptors of ours that the kernel does not let through a socket. */
const unsendable = new Set<LocalFd>();

/**
 * Says that the kernel refuses to send a descriptor, as those of rings of io_uring (since 6.7, __scm_fp_copy() in
 * net/core/scm.c). {@link handOver} has the task take it from us.
 */
export function markUnsendable(local: LocalFd): void {
  unsendable.add(local);
}

/**
 * Has the task duplicate a descriptor of ours. The pidfd of ours that it needs for that moves to a higher number first,
 * so that the duplicate gets the lowest free one, as all that are handed over.
 */
function fetch(seed: Seed, batch: Batch, local: LocalFd): number {
  using own = openPidfd(process.pid);
  const [number = 0] = handOverAll(seed, batch, [own.number]);
  const program = batch.reserve(4);
  const moved = program.call('fcntl', number, F.DUPFD_CLOEXEC, number);
  program.call('close', number);
  const got = program.call('pidfd_getfd', moved, Number(local), 0);
  program.call('close', moved);
  batch.flush();
  return program.result(got);
}

function handOverAll(seed: Seed, batch: Batch, locals: readonly LocalFd[]): number[] {
  const arrived: number[] = [];
  // All tasks of a tree read from one socket, so a task must receive its lot before the next one is sent.
  for (let at = 0; at < locals.length; at += SCM_MAX_FD) {
    const lot = locals.slice(at, at + SCM_MAX_FD);
    send(seed, lot);
    arrived.push(...receive(seed, batch, lot.length));
  }
  return arrived;
}

/** Sends a lot. The message needs a byte of data, or the receiver would see the end of the stream. */
function send(seed: Seed, lot: readonly number[]): void {
  const sent = trySendMessage(seed.socket.number, new Uint8Array(1), encodeControl(lot), MSG.NOSIGNAL);
  if (sent < 0) throw new SyscallError('sendmsg', -sent, { task: { pid: seed.tracee.pid } });
}

/** Has the task receive the next lot. */
function receive(seed: Seed, batch: Batch, count: number): readonly number[] {
  const room = rightsSpace(count);
  const program = batch.reserve(1, Msghdr.size + 16 + 8 + room);
  const byte = program.space(8);
  const iov = program.data(new Uint8Array(new BigUint64Array([BigInt(byte), 1n]).buffer));
  const control = program.space(room);
  const header = program.data(
    Msghdr.encode({ iov: BigInt(iov), iovLength: 1n, control: BigInt(control), controlLength: BigInt(room) }),
  );
  const received = program.call('recvmsg', seed.socketTarget, header, 0);
  batch.flush();
  const { flags, controlLength } = Msghdr.decode(program.bytes(header, Msghdr.size));
  const { rights } = decodeControl(program.bytes(control, Number(controlLength)));
  if (program.result(received) === 1 && (flags & MSG.CTRUNC) === 0 && rights.length === count) return rights;
  // scm_detach_fds() in net/core/scm.c stops at the first descriptor for which there is no number; the others are
  // closed.
  throw new StasisError({
    kind: 'permission',
    task: { pid: seed.tracee.pid },
    resource: 'RLIMIT_NOFILE',
    reason: `of ${count} descriptors handed over to the task only ${rights.length} arrived`,
    remedy: 'start Stasis with a higher limit (ulimit -n)',
  });
}

/** Closes all descriptors of the task except its socket. */
export function closeAll(seed: Seed, batch: Batch): void {
  batch.call('close_range', 0, seed.socketTarget - 1, 0);
  batch.call('close_range', seed.socketTarget + 1, 0xffff_ffff, 0);
}
