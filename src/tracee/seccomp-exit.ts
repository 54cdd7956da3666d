/**
 * Finds threads that could not leave by themselves if Stasis died. Its death ends the suspension of seccomp
 * (PTRACE_O_SUSPEND_SECCOMP), so the calls that a thread makes to leave are filtered. Strict mode kills for any of
 * them; filters are run to find out.
 */

import type { Arch } from '../arch/arch.ts';
import { NR, type SyscallName } from '../arch/syscall-numbers.ts';
import type { HostPid } from '../base/brands.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { SECCOMP_MODE, SECCOMP_RET } from '../kernel/constants/seccomp.ts';
import { SIG_HOW, SIGSET_SIZE } from '../kernel/constants/signals.ts';
import { runFilter, seccompData } from './bpf.ts';
import { AREA } from './program.ts';
import { seccompFilter } from './seccomp.ts';
import type { Tracee } from './tracee.ts';

const { ACTION_FULL, ALLOW, ERRNO, LOG, TRACE } = SECCOMP_RET;

/** Addresses similar to those that will be used; filters hardly ever check pointers. */
const IN_VDSO = 0x7fff_f7fc_1e00;
const IN_AREA = 0x10_0000;
const PRIVATE_AREA = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED_NOREPLACE;

/**
 * Calls made when entering, in programs and when leaving. Those that are not `needed` may fail without harm to the
 * thread.
 */
const CALLS: readonly (readonly [SyscallName, readonly number[], needed?: 'needed'])[] = [
  ['rt_sigprocmask', [SIG_HOW.SETMASK, IN_VDSO, 0, SIGSET_SIZE], 'needed'],
  ['mmap', [IN_AREA, AREA.length, PROT.READ | PROT.EXEC, PRIVATE_AREA, -1, 0]],
  ['mprotect', [IN_AREA + AREA.code, AREA.length - AREA.code, PROT.READ | PROT.WRITE]],
  ['rt_sigaction', [16, IN_VDSO, 0, 8]],
  ['getpid', []],
  ['gettid', []],
  ['tgkill', [1000, 1000, 16]],
  ['select', [0, 0, 0, 0, IN_VDSO]],
  ['munmap', [IN_AREA, AREA.length]],
];

/** A stopped thread, and the value of `Seccomp:` in its status. */
export interface Guarded {
  readonly tracee: Tracee;
  readonly seccomp: number | undefined;
}

/**
 * The threads that seccomp would not let leave.
 * @throws StasisError where the kernel does not let us read filters
 */
export function threadsWithoutExit(threads: readonly Guarded[]): Set<Tracee> {
  const exitless = new Set<Tracee>();
  /** Results by filters, since threads mostly have the same ones. */
  const known = new Map<string, boolean>();
  for (const { tracee, seccomp } of threads) {
    if (seccomp === SECCOMP_MODE.STRICT) exitless.add(tracee);
    if (seccomp !== SECCOMP_MODE.FILTER) continue;
    const filters = filtersOf(tracee.pid);
    const key = filters
      .map((code) => Buffer.from(code.buffer, code.byteOffset, code.length).toString('latin1'))
      .join('|');
    const verdict = known.get(key) ?? forbidsExit(filters, tracee.arch);
    known.set(key, verdict);
    if (verdict) exitless.add(tracee);
  }
  return exitless;
}

function filtersOf(tid: HostPid): Uint8Array[] {
  const filters: Uint8Array[] = [];
  for (;;) {
    const code = seccompFilter(tid, filters.length);
    if (!code) return filters;
    filters.push(code);
  }
}

/** Whether filters would kill a thread when it leaves, or keep it from restoring its signal mask. Pure. */
export function forbidsExit(filters: readonly Uint8Array[], arch: Pick<Arch, 'auditArch'>): boolean {
  return CALLS.some(([name, args, needed]) => {
    const data = seccompData(NR[name], arch.auditArch, IN_VDSO, args);
    const action = Math.min(ALLOW, ...filters.map((code) => (runFilter(code, data) & ACTION_FULL) | 0));
    if (action === ALLOW || action === LOG) return false;
    return needed !== undefined || (action !== ERRNO && action !== TRACE);
  });
}
