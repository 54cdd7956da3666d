/**
 * Reads and suspends the seccomp filters of a stopped tracee. Both need CAP_SYS_ADMIN in the initial user namespace,
 * and a tracer that is not restricted by seccomp itself (seccomp_get_filter(), check_ptrace_options()).
 */

import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { SeccompMetadata } from '../kernel/layouts/ptrace.ts';
import { SockFilter } from '../kernel/layouts/seccomp.ts';
import { arena, arenaAddress, describeErrno, ERRNO } from '../kernel/syscall.ts';
import { PTRACE, PTRACE_O, tryPtrace } from './ptrace.ts';

/**
 * Suspends seccomp of a tracee while it is traced: calls it executes for Stasis are not filtered, calls after its
 * release are. `options` are its other PTRACE_O_*, since all options are set together.
 * @throws StasisError kind 'permission'
 */
export function suspendSeccomp(tid: HostPid, options = 0): void {
  const all = options | PTRACE_O.TRACESYSGOOD | PTRACE_O.SUSPEND_SECCOMP;
  const result = tryPtrace(PTRACE.SETOPTIONS, tid, 0, all);
  if (result < 0) throw refusal(tid, -result, 'seccomp cannot be suspended');
}

/**
 * The code of a thread's filter; index 0 is the one installed first. Undefined after the last filter.
 * @throws StasisError
 */
export function seccompFilter(tid: HostPid, index: number): Uint8Array | undefined {
  const length = tryPtrace(PTRACE.SECCOMP_GET_FILTER, tid, index, arenaAddress);
  if (length === -ERRNO.ENOENT) return undefined;
  if (length < 0) throw refusal(tid, -length, `seccomp filter ${index} cannot be read`);
  return arena.slice(0, length * SockFilter.size);
}

/** SECCOMP_FILTER_FLAG_* of a filter. The kernel shows none before 4.16, and only LOG since then. */
export function seccompFlags(tid: HostPid, index: number): number {
  SeccompMetadata.encodeInto(arena, 0, { filterOffset: BigInt(index) });
  const result = tryPtrace(PTRACE.SECCOMP_GET_METADATA, tid, SeccompMetadata.size, arenaAddress);
  return result < 0 ? 0 : Number(SeccompMetadata.decode(arena).flags);
}

function refusal(tid: HostPid, errno: number, what: string): StasisError {
  if (errno !== ERRNO.EPERM && errno !== ERRNO.EACCES) {
    return new StasisError({ kind: 'kernel', task: { pid: tid }, reason: `${what}: ${describeErrno(errno)}` });
  }
  return new StasisError({
    kind: 'permission',
    task: { pid: tid },
    reason: `${what}: the kernel lets nobody do that without CAP_SYS_ADMIN, or under seccomp`,
    remedy: 'run Stasis as root, outside of containers with a seccomp profile',
  });
}
