/**
 * Makes the process of a seed from outside. Its executable is one page in a memfd. It is made by clone3 with
 * CLONE_VM|CLONE_VFORK and a stack of its own, whose top holds the address of a few bytes of code. libc's syscall()
 * returns to them in the child, and they execute the memfd. So no JavaScript runs in the child, and it can have any PID
 * (set_tid).
 */

import type { SpawnPlan } from '../arch/arch.ts';
import { thisArch } from '../arch/index.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import { NR } from '../arch/syscall-numbers.ts';
import { type HostPid, hostPid, ownPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { cstring } from '../base/text.ts';
import { type BornUser, bornAs } from '../kernel/act-as.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { AF, SOCK } from '../kernel/constants/sockets.ts';
import { CAPABILITY_VERSION_3, CLONE, CLONE_ARGS_SIZE, RLIMIT } from '../kernel/constants/tasks.ts';
import { Pins } from '../kernel/ffi.ts';
import { memoryFile } from '../kernel/files.ts';
import { CapHeader, encodeCapSets } from '../kernel/layouts/tasks.ts';
import { arenaAddress, arenaView, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { bury } from './bury.ts';
import { spawnError } from './clones.ts';
import { forceWrite, openMemory, writeMemory } from './memory.ts';
import { AREA } from './program.ts';
import { PTRACE, PTRACE_O } from './ptrace.ts';
import { withSignalsBlocked } from './signal-mask.ts';
import { Tracee } from './tracee.ts';

/** Options of a new seed. */
export interface SeedOptions {
  /** The PID it must have, in the PID namespace it is born in; any, if undefined. */
  readonly pid: number | undefined;
  /** The PIDs it must have in the PID namespaces around that, from the nearest outwards. */
  readonly outerPids?: readonly number[];
  /** Make it a child of our parent instead of ours (`--restore-sibling`). */
  readonly sibling: boolean;
  /** Namespaces to make it in: CLONE_NEWPID, CLONE_NEWUSER. */
  readonly flags?: bigint;
  /** Who makes it, if that is not to be Stasis: the owner of its user namespace. */
  readonly user?: BornUser | undefined;
  /** Whether it is born in another PID namespace than ours. */
  readonly isApart?: boolean;
  /** Descriptor numbers of the task and of tasks forked from it. The socket of the seed gets another number. */
  readonly taken: ReadonlySet<number>;
}

/** The process of a new seed. */
interface Spawned {
  readonly tracee: Tracee;
  /** Our end of the socket through which descriptors are handed over. */
  readonly socket: Fd;
  /** The task's end of it. */
  readonly socketTarget: number;
}

/**
 * Makes the process of a seed, traced and stopped, with its work area at `area`. It is killed if Stasis dies.
 * @throws StasisError kind 'conflict' when the PID is in use
 */
export function spawnSeed(options: SeedOptions, area: number): Spawned {
  const arch = thisArch();
  using executable = memoryFile('stasis-seed');
  const [ours, theirs] = socketPair();
  // The child moves its end there while it still needs the descriptors it has from us.
  const socketTarget = freeNumber(Math.max(executable.number, ours.number, theirs.number) + 1, options.taken);
  const { elf, callAt } = arch.seed(socketTarget);
  let pid: HostPid | undefined;
  try {
    let highest = socketTarget;
    for (const number of options.taken) if (number > highest) highest = number;
    requireDescriptors(highest + 1);
    syscall('write', executable.number, elf, elf.byteLength);
    pid = spawn(options, { executable: executable.number, socket: theirs.number, socketTarget });
    const tracee = Tracee.attach(pid, PTRACE_O.EXITKILL);
    tracee.stop();
    mapArea(tracee, callAt, area);
    return { tracee, socket: ours, socketTarget };
  } catch (error) {
    ours[Symbol.dispose]();
    if (pid !== undefined) bury(pid);
    throw error;
  } finally {
    theirs[Symbol.dispose]();
  }
}

/** Maps the work area with calls from the seed's own page, which has a syscall instruction followed by a trap. */
function mapArea(tracee: Tracee, callAt: number, area: number): void {
  const registers = tracee.getRegisters();
  const call = (nr: number, args: readonly number[]): number => {
    tracee.setRegisters(tracee.arch.oneCall(registers, callAt, nr, args));
    tracee.resumeUntil(PTRACE.CONT, (stop) => stop.kind === 'signal' && stop.signal === SIG.TRAP);
    return tracee.arch.result(tracee.getRegisters());
  };
  const kind = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED_NOREPLACE;
  const mapped = call(NR.mmap, [area, AREA.length, PROT.READ | PROT.EXEC, kind, -1, 0]);
  if (mapped !== area) throw new SyscallError('mmap', -mapped, { task: { pid: tracee.pid } });
  const data = call(NR.mprotect, [area + AREA.code, AREA.length - AREA.code, PROT.READ | PROT.WRITE]);
  if (data !== 0) throw new SyscallError('mprotect', -data, { task: { pid: tracee.pid } });
  using mem = openMemory(tracee.pid);
  forceWrite(mem, area, tracee.arch.programCode({ kind: 'trap' }));
}

/**
 * Raises our limit on descriptors, which the seed inherits, to hold its descriptors. @throws StasisError kind
 * 'permission' if it cannot be raised
 */
function requireDescriptors(count: number): void {
  syscall('prlimit64', 0, RLIMIT.NOFILE, 0, arenaAddress);
  const [soft, hard] = [arenaView.getBigUint64(0, true), arenaView.getBigUint64(8, true)];
  const wanted = BigInt(count);
  if (soft >= wanted) return;
  arenaView.setBigUint64(0, wanted, true);
  arenaView.setBigUint64(8, hard > wanted ? hard : wanted, true);
  if (trySyscall('prlimit64', 0, RLIMIT.NOFILE, arenaAddress, 0) === 0) return;
  throw new StasisError({
    kind: 'permission',
    code: 'DESCRIPTORS_EXHAUSTED',
    resource: 'RLIMIT_NOFILE',
    reason: `${count} descriptors are needed, and no more than ${hard} are allowed`,
    remedy: `start Stasis with a higher limit (ulimit -n ${count})`,
  });
}

/**
 * The first number from `from` on that is not taken; a task may have descriptors up to its limit.
 */
function freeNumber(from: number, taken: ReadonlySet<number>): number {
  let number = from;
  while (taken.has(number)) number++;
  return number;
}

function socketPair(): [Fd, Fd] {
  syscall('socketpair', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0, arenaAddress);
  return [new Fd(arenaView.getInt32(0, true)), new Fd(arenaView.getInt32(4, true))];
}

/**
 * Makes a process by clone3 with a stack whose top is the address of the spawn code. Returns its PID after it has
 * executed the seed.
 */
function spawn(options: SeedOptions, fds: Omit<SpawnPlan, 'emptyString' | 'argv'>): HostPid {
  const arch = thisArch();
  using pins = new Pins();
  const argv = new BigUint64Array(2);
  argv[0] = BigInt(pins.address(cstring('stasis-seed')));
  const isInside = ((options.flags ?? 0n) & CLONE.NEWUSER) !== 0n;
  const code = arch.spawnCode({
    ...fds,
    emptyString: pins.address(cstring('')),
    argv: pins.address(argv),
    // It has all capabilities in its user namespace, and would lose them: nobody is root there yet.
    capabilities: isInside ? allCapabilities(pins) : undefined,
  });
  const page = syscall('mmap', 0, 2 * PAGE_SIZE, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
  try {
    const stackTop = page + 2 * PAGE_SIZE - 64;
    writeMemory(ownPid(), page, code);
    writeMemory(ownPid(), stackTop, new Uint8Array(new BigUint64Array([BigInt(page)]).buffer));
    syscall('mprotect', page, PAGE_SIZE, PROT.READ | PROT.EXEC);
    const make = (): number => clone3(options, page + PAGE_SIZE, stackTop - (page + PAGE_SIZE));
    const outcome = options.user ? bornAs(options.user, make) : make();
    if (outcome < 0) throw spawnError(options.pid, -outcome, options.isApart);
    return hostPid(outcome);
  } finally {
    syscall('munmap', page, 2 * PAGE_SIZE);
  }
}

/** Arguments of capset(2) for all capabilities there can be, also as inheritable ones. */
function allCapabilities(pins: Pins): { readonly header: number; readonly sets: number } {
  const all = (1n << 64n) - 1n;
  const header = CapHeader.encode({ version: CAPABILITY_VERSION_3, pid: 0 });
  const sets = encodeCapSets({ effective: all, permitted: all, inheritable: all });
  return { header: pins.address(header), sets: pins.address(sets) };
}

/**
 * Calls clone3 with struct clone_args and the wanted PID. All signals are blocked meanwhile, so that no handler runs in
 * the child.
 */
function clone3(options: SeedOptions, stack: number, stackSize: number): number {
  using pins = new Pins();
  const args = new BigUint64Array(CLONE_ARGS_SIZE.VER2 / 8);
  const numbers = options.pid === undefined ? [] : [options.pid, ...(options.outerPids ?? [])];
  const pids = new Int32Array([...numbers, 0]);
  args[0] = CLONE.VM | CLONE.VFORK | (options.sibling ? CLONE.PARENT : 0n) | (options.flags ?? 0n);
  args[4] = BigInt(options.sibling ? 0 : SIG.CHLD);
  args[5] = BigInt(stack);
  args[6] = BigInt(stackSize);
  if (numbers.length > 0) {
    args[8] = BigInt(pins.address(pids));
    args[9] = BigInt(numbers.length);
  }
  return withSignalsBlocked(() => trySyscall('clone3', args, CLONE_ARGS_SIZE.VER2));
}
