/** Probes for features of ptrace and signals, made on a throw-away process. */

import { PR } from '../../kernel/constants/prctl.ts';
import { PTRACE_O } from '../../kernel/constants/ptrace.ts';
import { BPF_RET_K, SECCOMP_MODE, SECCOMP_RET } from '../../kernel/constants/seccomp.ts';
import { ALL_SIGNALS, SIG, SIG_HOW, SIGSET_SIZE, TRAP } from '../../kernel/constants/signals.ts';
import { SockFilter } from '../../kernel/layouts/seccomp.ts';
import { encodeSiginfo, Siginfo } from '../../kernel/layouts/signals.ts';
import { getRseq, getSiginfo, getSignalMask, PTRACE, peekSignals, tryPtrace } from '../../tracee/ptrace.ts';
import { type Probe, refusal } from './feature.ts';
import { ask, inThrowaway } from './throwaway.ts';

/** An si_code that a process may send only to itself. */
const OWN_CODE = 1;

/**
 * A process can send itself a signal with the siginfo of a kernel signal, and the whole siginfo can be read from its
 * queue.
 */
export const queuedSignals: Probe = () =>
  inThrowaway((seed) => {
    const { pid } = seed.tracee;
    ask(seed, (p) => {
      const mask = p.data(new Uint8Array(new BigUint64Array([ALL_SIGNALS]).buffer));
      p.call('rt_sigprocmask', SIG_HOW.SETMASK, mask, 0, SIGSET_SIZE);
      const info = p.data(encodeSiginfo({ signo: SIG.USR1, code: OWN_CODE }));
      p.call('rt_sigqueueinfo', pid, SIG.USR1, info);
    });
    const found = peekSignals(pid, true).some((info) => {
      const { signo, code } = Siginfo.decode(info);
      return signo === SIG.USR1 && code === OWN_CODE;
    });
    return found ? undefined : 'a queued signal is not seen by PTRACE_PEEKSIGINFO';
  });

/** The signal queue and the signal mask of a tracee can be read. */
export const peekSiginfo: Probe = () =>
  inThrowaway(({ tracee: { pid } }) => {
    peekSignals(pid, false);
    getSignalMask(pid);
    return undefined;
  });

export const suspendSeccomp: Probe = () =>
  inThrowaway(({ tracee: { pid } }) => {
    const options = PTRACE_O.EXITKILL | PTRACE_O.TRACESYSGOOD | PTRACE_O.SUSPEND_SECCOMP;
    return refusal('ptrace', tryPtrace(PTRACE.SETOPTIONS, pid, 0, options));
  });

/** Installs a seccomp filter that allows everything, and reads it back. */
export const seccompFilters: Probe = () =>
  inThrowaway((seed) => {
    const allow = SockFilter.encode({ code: BPF_RET_K, k: SECCOMP_RET.ALLOW });
    ask(seed, (p) => {
      const program = p.data(new Uint8Array(new BigUint64Array([1n, BigInt(p.data(allow))]).buffer));
      p.call('prctl', PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      p.call('prctl', PR.SET_SECCOMP, SECCOMP_MODE.FILTER, program, 0, 0);
    });
    return refusal('ptrace', tryPtrace(PTRACE.SECCOMP_GET_FILTER, seed.tracee.pid, 0, 0));
  });

export const rseqConfiguration: Probe = () =>
  inThrowaway(({ tracee: { pid } }) => {
    const rseq = getRseq(pid);
    if (!rseq) return 'PTRACE_GET_RSEQ_CONFIGURATION is not known';
    return rseq.flags === 0
      ? undefined
      : `the kernel knows rseq flags 0x${rseq.flags.toString(16)} that nobody else does`;
  });

/** Sets a hardware breakpoint on the first instruction of a program. */
export const breakpoints: Probe = () =>
  inThrowaway(({ tracee, remote }) => {
    const { breakpoint } = tracee.arch;
    if (!breakpoint) return 'not known for this processor';
    for (const [offset, value] of breakpoint(remote.area)) {
      const result = tryPtrace(PTRACE.POKEUSER, tracee.pid, offset, value);
      if (result < 0) return refusal('ptrace', result);
    }
    remote.start(remote.program());
    tracee.waitUntil(PTRACE.CONT, (stop) => stop.kind === 'signal' && stop.signal === SIG.TRAP);
    const { code } = Siginfo.decode(getSiginfo(tracee.pid));
    return code === TRAP.HWBKPT
      ? undefined
      : 'the processor runs over breakpoints: the hypervisor does not pass them on';
  });
