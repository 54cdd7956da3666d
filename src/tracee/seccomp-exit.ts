/**
 * Threads that would not find their way out if we died: our death ends the suspension of seccomp
 * (PTRACE_O_SUSPEND_SECCOMP), and then the calls they make on that way are theirs to answer for. Strict mode kills for
 * any; what filters say is tried.
 */

import type { Arch } from '../arch/arch.ts';
import { NR, type SyscallName } from '../arch/syscall-numbers.ts';
import type { HostPid } from '../base/brands.ts';
import { SECCOMP_MODE } from '../kernel/constants/tasks.ts';
import { runFilter, seccompData } from './bpf.ts';
import { AREA } from './program.ts';
import { seccompFilter } from './seccomp.ts';
import type { Tracee } from './tracee.ts';

/** SECCOMP_RET_*: what leaves a thread alive. The lower a value, as a signed number, the more it counts. */
const ACTION = 0xffff_0000;
const ERRNO = 0x0005_0000;
/** To a tracer that is not there: ENOSYS. */
const TRACE = 0x7ff0_0000;
const LOG = 0x7ffc_0000;
const ALLOW = 0x7fff_0000;

/** Like the addresses that will be used; filters that look at pointers cannot mean much by it. */
const IN_VDSO = 0x7fff_f7fc_1e00;
const IN_AREA = 0x10_0000;

/** Calls of ways in, programs and ways out. Not every one has to work for the thread to live on. */
const CALLS: readonly (readonly [SyscallName, readonly number[], needed?: 'needed'])[] = [
  ['rt_sigprocmask', [2, IN_VDSO, 0, 8], 'needed'],
  ['mmap', [IN_AREA, AREA.length, 5, 0x100022, -1, 0]],
  ['mprotect', [IN_AREA + AREA.code, AREA.length - AREA.code, 3]],
  ['rt_sigaction', [16, IN_VDSO, 0, 8]],
  ['getpid', []],
  ['gettid', []],
  ['tgkill', [1000, 1000, 16]],
  ['select', [0, 0, 0, 0, IN_VDSO]],
  ['munmap', [IN_AREA, AREA.length]],
];

/** A stopped thread, and `Seccomp:` of its status. */
export interface Guarded {
  readonly tracee: Tracee;
  readonly seccomp: number | undefined;
}

/**
 * Those of some threads that seccomp would not let out.
 * @throws StasisError where the kernel does not let us read filters
 */
export function threadsWithoutExit(threads: readonly Guarded[]): Set<Tracee> {
  const exitless = new Set<Tracee>();
  /** Threads mostly have the same filters. */
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

/** Whether filters would end a thread, or leave it deaf, on its way out. Pure. */
export function forbidsExit(filters: readonly Uint8Array[], arch: Pick<Arch, 'auditArch'>): boolean {
  return CALLS.some(([name, args, needed]) => {
    const data = seccompData(NR[name], arch.auditArch, IN_VDSO, args);
    const action = Math.min(ALLOW, ...filters.map((code) => (runFilter(code, data) & ACTION) | 0));
    if (action === ALLOW || action === LOG) return false;
    return needed !== undefined || (action !== ERRNO && action !== TRACE);
  });
}
