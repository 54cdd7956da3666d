/** Probes for features of memory: moving the kernel's own mappings, and information about pages in /proc. */

import { AT, O } from '../../kernel/constants/files.ts';
import { MREMAP, PAGE_IS, PAGEMAP_SCAN, UFFD_API, UFFD_FEATURE, UFFDIO_API } from '../../kernel/constants/memory.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { PmScanArg, UffdioApi } from '../../kernel/layouts/memory.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { type ProcVma, parseSmaps } from '../../kernel/proc/smaps.ts';
import { arena, arenaAddress, arenaPath, ERRNO, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { whyNoTracking } from '../../memory/tracking/tracking.ts';
import { forceWrite, openMemory } from '../../tracee/memory.ts';
import { PTRACE } from '../../tracee/ptrace.ts';
import type { Seed } from '../../tracee/seed.ts';
import { type Probe, refusal } from './feature.ts';
import { ask, inThrowaway, PLAYGROUND } from './throwaway.ts';

function mapsOf(seed: Seed): ProcVma[] {
  return parseSmaps(readProc(seed.tracee.pid, 'maps'));
}

const isKernels = ({ name }: ProcVma): boolean => name === '[vdso]' || name.startsWith('[vvar');

/** Moves vdso and vvar; the kernel must know their new addresses afterwards. */
export const moveVdso: Probe = () =>
  inThrowaway((seed) => {
    const before = mapsOf(seed).filter(isKernels);
    let next = PLAYGROUND;
    const targets = before.map(({ start, end }) => {
      const target = next;
      next += end - start;
      return target;
    });
    ask(seed, (p) => {
      before.forEach(({ start, end }, i) => {
        p.call('mremap', start, end - start, end - start, MREMAP.MAYMOVE | MREMAP.FIXED, targets[i] ?? 0);
      });
    });
    const after = mapsOf(seed).filter(isKernels);
    return after.every(({ start }) => targets.includes(start)) ? undefined : 'a moved vdso is lost';
  });

/** The kernel maps a vdso for 32-bit programs on request; it answers EEXIST if the process has a vdso already. */
export const mapVdso: Probe = () =>
  inThrowaway((seed) => {
    const { compat } = seed.tracee.arch;
    if (!compat) return NO_COMPAT;
    const { name, args } = compat.mapVdso;
    const { program, built } = ask(seed, (p) => p.attempt(name, ...args));
    const result = program.result(built);
    return result === -ERRNO.EEXIST ? undefined : refusal(name, result);
  });

const NO_COMPAT = 'this processor has no 32-bit programs';

/** The kernel has a vdso for 32-bit programs, and 32-bit system calls work. */
export const compatible: Probe = () => mapVdso() ?? oldSystemCall();

function oldSystemCall(): string | undefined {
  return inThrowaway(({ tracee, remote }) => {
    const { arch } = tracee;
    if (!arch.compat) return NO_COMPAT;
    const { code, nr } = arch.compat.getpid;
    using mem = openMemory(tracee.pid);
    forceWrite(mem, remote.area, code);
    tracee.setRegisters(arch.oneCall(tracee.getRegisters(), remote.area, nr, []));
    let crashed = false;
    tracee.resumeUntil(PTRACE.CONT, (stop) => {
      crashed = stop.kind === 'signal' && stop.signal === SIG.SEGV;
      return stop.kind === 'signal';
    });
    const works = !crashed && arch.result(tracee.getRegisters()) === tracee.pid;
    return works ? undefined : '32-bit system calls are switched off';
  });
}

/** The ring of an AIO context still works after it was moved. */
export const moveAioRing: Probe = () =>
  inThrowaway((seed) => {
    const { program, built } = ask(seed, (p) => {
      const context = p.space(8);
      p.call('io_setup', 16, context);
      return context;
    });
    const ring = Number(program.view(built, 8).getBigUint64(0, true));
    const vma = mapsOf(seed).find(({ start, name }) => start === ring && name.startsWith('/[aio]'));
    if (!vma) return 'the ring is not where its name says';
    ask(seed, (p) => {
      const size = vma.end - vma.start;
      p.call('mremap', ring, size, size, MREMAP.MAYMOVE | MREMAP.FIXED, PLAYGROUND);
      p.call('io_getevents', PLAYGROUND, 0, 1, 0, 0);
    });
    return undefined;
  });

/** Whether writes can be noticed from one dump to the next. CRIU asks for soft-dirty marks, which are not needed. */
export const changeTracking: Probe = () => whyNoTracking();

function open(path: string, flags: number): Fd {
  return new Fd(syscall('openat', AT.FDCWD, arenaPath(path), flags | O.CLOEXEC));
}

export const pagemapScan: Probe = () => scan(0);
export const pagemapScanGuards: Probe = () => scan(PAGE_IS.GUARD);

/** PAGEMAP_SCAN of an empty range of our own memory. */
function scan(more: number): string | undefined {
  using pagemap = open('/proc/self/pagemap', O.RDONLY);
  PmScanArg.encodeInto(arena, 0, {
    size: BigInt(PmScanArg.size),
    categoryInverted: BigInt(PAGE_IS.PFNZERO | PAGE_IS.FILE),
    categoryMask: BigInt(PAGE_IS.PFNZERO | PAGE_IS.FILE),
    categoryAnyofMask: BigInt(PAGE_IS.PRESENT | PAGE_IS.SWAPPED),
    returnMask: BigInt(PAGE_IS.PRESENT | PAGE_IS.SWAPPED | PAGE_IS.SOFT_DIRTY | more),
  });
  return refusal('ioctl', trySyscall('ioctl', pagemap.number, PAGEMAP_SCAN, arenaAddress));
}

const NONCOOPERATIVE =
  UFFD_FEATURE.EVENT_FORK | UFFD_FEATURE.EVENT_REMAP | UFFD_FEATURE.EVENT_REMOVE | UFFD_FEATURE.EVENT_UNMAP;

/** The features of userfaultfd as a set of bits, or the reason why there is no userfaultfd. */
function userfaultFeatures(): bigint | string {
  const opened = trySyscall('userfaultfd', O.CLOEXEC);
  if (opened < 0) return refusal('userfaultfd', opened) ?? '';
  using fd = new Fd(opened);
  UffdioApi.encodeInto(arena, 0, { api: UFFD_API });
  const result = trySyscall('ioctl', fd.number, UFFDIO_API, arenaAddress);
  return refusal('ioctl', result) ?? UffdioApi.decode(arena).features;
}

export const userfault: Probe = () => {
  const features = userfaultFeatures();
  return typeof features === 'string' ? features : undefined;
};

export const userfaultEvents: Probe = () => {
  const features = userfaultFeatures();
  if (typeof features === 'string') return features;
  const all = (features & NONCOOPERATIVE) === NONCOOPERATIVE;
  return all ? undefined : 'userfaultfd does not tell of forks and of memory that is moved or given back';
};
