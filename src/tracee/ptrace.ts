/** The requests of ptrace(2) and wait4(2) that are used: one function for each, with plain numbers. */
import type { HostPid, Milliseconds } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { PTRACE, PTRACE_EVENT, PTRACE_O, W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { Pins, type Word } from '../kernel/ffi.ts';
import { nap } from '../kernel/nap.ts';
import { arena, arenaAddress, arenaView, ERRNO, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { isInterrupted } from './interruption.ts';

export { nap, PTRACE, PTRACE_O };

/** Why a tracee stopped, or how it ended. */
export type Stop =
  /** PTRACE_EVENT_STOP: our interrupt (signal 5), or a group stop (the stopping signal). */
  | { readonly kind: 'event'; readonly signal: number }
  | { readonly kind: 'signal'; readonly signal: number }
  | { readonly kind: 'syscall' }
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: number };

/** One ptrace request. @throws SyscallError */
export function ptrace(request: number, pid: HostPid, address: Word = 0, data: Word = 0): number {
  return syscall('ptrace', request, pid, address, data);
}

/** One ptrace request; returns -errno instead of throwing. */
export function tryPtrace(request: number, pid: HostPid, address: Word = 0, data: Word = 0): number {
  return trySyscall('ptrace', request, pid, address, data);
}

/** Reads a wait status (wait(2), "WIFSTOPPED" and the ptrace extensions). */
export function decodeStop(status: number): Stop {
  if ((status & 0x7f) === 0) return { kind: 'exited', code: (status >> 8) & 0xff };
  if ((status & 0xff) !== 0x7f) return { kind: 'killed', signal: status & 0x7f };
  const signal = (status >> 8) & 0xff;
  if (status >> 16 === PTRACE_EVENT.STOP) return { kind: 'event', signal };
  return signal === (SIG.TRAP | 0x80) ? { kind: 'syscall' } : { kind: 'signal', signal };
}

/** Waits for the next stop (or the end) of a tracee. */
export function waitStop(pid: number): Stop;
/**
 * Waits at most `patience` milliseconds; undefined if nothing has happened by then, or if a signal asks Stasis to end.
 */
export function waitStop(pid: number, patience: Milliseconds): Stop | undefined;
export function waitStop(pid: number, patience?: number): Stop | undefined {
  const limit = patience ?? Number.POSITIVE_INFINITY;
  const deadline = performance.now() + limit;
  const options = limit === Number.POSITIVE_INFINITY ? W.ALL : W.ALL | W.NOHANG;
  for (let pause = 5_000; ; pause = Math.min(2 * pause, 1_000_000)) {
    const got = trySyscall('wait4', pid, arenaAddress, options, 0);
    if (got === pid) return decodeStop(arenaView.getInt32(0, true));
    if (got < 0 && got !== -ERRNO.EINTR) throw new SyscallError('wait4', -got, { task: { pid } });
    if (patience !== undefined && isInterrupted()) return undefined;
    if (got === 0 && performance.now() > deadline) return undefined;
    if (got === 0) nap(pause);
  }
}

/**
 * The next stop (or the end) of a tracee if it has happened already; 'none' if not. 'lost' if it is not our tracee any
 * more: a thread whose process executed a program, or one that has been reaped (death-watch.ts).
 */
export function pollStop(pid: HostPid): Stop | 'none' | 'lost' {
  for (;;) {
    const got = trySyscall('wait4', pid, arenaAddress, W.ALL | W.NOHANG, 0);
    if (got === pid) return decodeStop(arenaView.getInt32(0, true));
    if (got === 0) return 'none';
    if (got === -ERRNO.ECHILD) return 'lost';
    if (got !== -ERRNO.EINTR) throw new SyscallError('wait4', -got, { task: { pid } });
  }
}

/**
 * Kills a process, by any of its threads. Without CAP_KILL that of another user may not be sent a signal, but its
 * tracer may end it all the same. Harmless if it is dead.
 */
export function killTracee(pid: HostPid): void {
  for (let attempt = 1; attempt <= 3; attempt++) {
    const result = trySyscall('kill', pid, SIG.KILL);
    if (result === -ERRNO.EPERM) tryPtrace(PTRACE.KILL, pid);
    // Whoever waits for its end afterwards waits for ever if it has not been killed.
    if (result >= 0 || result === -ERRNO.EPERM || result === -ERRNO.ESRCH) return;
  }
}

/** Waits for the end of a task that has been killed, if it is ours to wait for: called where nothing may throw. */
export function awaitEnd(pid: number): void {
  for (;;) {
    const got = trySyscall('wait4', pid, arenaAddress, W.ALL, 0);
    if (got === -ERRNO.ECHILD) return;
    if (got !== pid) continue; // interrupted
    const { kind } = decodeStop(arenaView.getInt32(0, true));
    if (kind === 'exited' || kind === 'killed') return;
  }
}

/**
 * As {@link awaitEnd}, of many. None is waited for while others could be reaped: the last thread of the init of a PID
 * namespace ends when all others in the namespace have been (zap_pid_ns_processes() in kernel/pid_namespace.c).
 */
export function awaitEnds(pids: readonly number[]): void {
  let left = pids;
  while (left.length > 1) {
    const still = left.filter((pid) => !hasBeenReaped(pid));
    if (still.length === left.length) nap(REAPING_PAUSE);
    left = still;
  }
  for (const pid of left) awaitEnd(pid);
}

/**
 * Waits until none of some processes and threads, which have been killed, is ours to wait for. One that we trace may
 * have to be waited for twice: as its tracer, and as its parent once its own parent has ended.
 */
export function reapAll(pids: readonly number[]): void {
  const isOurs = (pid: number): boolean => trySyscall('wait4', pid, 0, W.ALL | W.NOHANG, 0) !== -ERRNO.ECHILD;
  while (pids.filter(isOurs).length > 0) nap(REAPING_PAUSE);
}

/** Nanoseconds between two looks whether tasks have ended. */
const REAPING_PAUSE = 20_000;

/** Reaps a task if it has ended. True if it is gone, or not ours to wait for. */
function hasBeenReaped(pid: number): boolean {
  const got = trySyscall('wait4', pid, arenaAddress, W.ALL | W.NOHANG, 0);
  if (got === -ERRNO.ECHILD) return true;
  if (got !== pid) return false;
  const { kind } = decodeStop(arenaView.getInt32(0, true));
  return kind === 'exited' || kind === 'killed';
}

/** PTRACE_GETREGSET into `into`. Returns the number of bytes that the kernel wrote. */
export function getRegset(pid: HostPid, note: number, into: Uint8Array): number {
  using pins = new Pins();
  setIovec(pins.address(into), into.byteLength);
  ptrace(PTRACE.GETREGSET, pid, note, arenaAddress);
  return Number(arenaView.getBigUint64(8, true));
}

/** PTRACE_SETREGSET of the whole of `from`. */
export function setRegset(pid: HostPid, note: number, from: Uint8Array): void {
  using pins = new Pins();
  setIovec(pins.address(from), from.byteLength);
  ptrace(PTRACE.SETREGSET, pid, note, arenaAddress);
}

function setIovec(address: number, length: number): void {
  arenaView.setBigUint64(0, BigInt(address), true);
  arenaView.setBigUint64(8, BigInt(length), true);
}

/** The siginfo of the signal a tracee is stopped at: 128 bytes. */
export function getSiginfo(pid: HostPid): Uint8Array {
  ptrace(PTRACE.GETSIGINFO, pid, 0, arenaAddress);
  return arena.slice(0, 128);
}

/** The siginfo of pending signals, oldest first, without removing them from the queue. */
export function peekSignals(pid: HostPid, shared: boolean): Uint8Array[] {
  const found: Uint8Array[] = [];
  const batch = 32;
  for (;;) {
    // struct ptrace_peeksiginfo_args { u64 off; u32 flags; s32 nr; }
    arenaView.setBigUint64(0, BigInt(found.length), true);
    arenaView.setUint32(8, shared ? 1 : 0, true);
    arenaView.setInt32(12, batch, true);
    const got = ptrace(PTRACE.PEEKSIGINFO, pid, arenaAddress, arenaAddress + 64);
    for (let i = 0; i < got; i++) found.push(arena.slice(64 + i * 128, 64 + (i + 1) * 128));
    if (got < batch) return found;
  }
}

/** The signal mask; of a task inside sigsuspend, ppoll and the like, the one it will return to. */
export function getSignalMask(pid: HostPid): bigint {
  ptrace(PTRACE.GETSIGMASK, pid, 8, arenaAddress);
  return arenaView.getBigUint64(0, true);
}

/** Replaces the signal mask. */
export function setSignalMask(pid: HostPid, mask: bigint): void {
  arenaView.setBigUint64(0, mask, true);
  ptrace(PTRACE.SETSIGMASK, pid, 8, arenaAddress);
}

/** The arguments of rseq(2); pointer 0 if it was not called. Undefined before Linux 5.13, which does not tell. */
export function getRseq(pid: HostPid): { pointer: bigint; size: number; signature: number; flags: number } | undefined {
  const size = 24;
  const got = tryPtrace(PTRACE.GET_RSEQ_CONFIGURATION, pid, size, arenaAddress);
  if (got < 0) return undefined;
  return {
    pointer: arenaView.getBigUint64(0, true),
    size: arenaView.getUint32(8, true),
    signature: arenaView.getUint32(12, true),
    flags: arenaView.getUint32(16, true),
  };
}

/**
 * Whether the task catches its own system calls (prctl(PR_SET_SYSCALL_USER_DISPATCH)); false before Linux 6.4, which
 * does not tell.
 */
export function getSyscallDispatch(pid: HostPid): boolean {
  const got = tryPtrace(PTRACE.GET_SYSCALL_USER_DISPATCH_CONFIG, pid, 32, arenaAddress);
  return got >= 0 && arenaView.getBigUint64(0, true) !== 0n; // struct ptrace_sud_config: mode, selector, offset, len
}

/** The error for a task that ended while Stasis worked on it. */
export function endedError(pid: HostPid, stop: Stop): StasisError {
  const how = stop.kind === 'killed' ? `was killed by signal ${stop.signal}` : 'exited';
  return new StasisError({ kind: 'gone', task: { pid }, reason: `the task ${how} while Stasis worked on it` });
}
