/**
 * The seed: an almost empty process that is turned into a restored task.
 *
 * Its executable is one page in a memfd. It is made by clone3 with CLONE_VM|CLONE_VFORK and a stack of its own, whose
 * top holds the address of a few bytes of code. libc's syscall() returns to them in the child, and they execute the
 * memfd. So no JavaScript runs in the child, and it can have any PID (set_tid).
 */

import type { SpawnPlan } from '../arch/arch.ts';
import { thisArch } from '../arch/index.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import { NR } from '../arch/syscall-numbers.ts';
import { type HostPid, hostPid, ownPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { cstring } from '../base/text.ts';
import { type BornUser, bornAs } from '../kernel/act-as.ts';
import { MFD } from '../kernel/constants/files.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { AF, SOCK } from '../kernel/constants/sockets.ts';
import { CAPABILITY_VERSION_3, CLONE, CLONE_ARGS_SIZE, RLIMIT } from '../kernel/constants/tasks.ts';
import { Pins } from '../kernel/ffi.ts';
import { CapHeader, encodeCapSets } from '../kernel/layouts/tasks.ts';
import { pidInUse } from '../kernel/pid-in-use.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { threadsOf } from '../kernel/proc/tree.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { hostPidsOf } from './host-pids.ts';
import { forceWrite, openMemory, writeMemory } from './memory.ts';
import { withNextPid } from './next-pid.ts';
import { AREA, type Program, type Ref } from './program.ts';
import { awaitEnds, killTracee, PTRACE, PTRACE_O } from './ptrace.ts';
import { Remote } from './remote.ts';
import { withSignalsBlocked } from './signal-mask.ts';
import { Tracee } from './tracee.ts';

/** Options of a new seed. */
export interface SeedOptions {
  /** The PID it must have, in the PID namespace it is born in; any, if undefined. */
  readonly pid: number | undefined;
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

/** A seed to be cloned by another seed. */
export interface CloneRequest {
  /** The PID it must have, in the PID namespace of its maker; in others, where `numbers` has more. */
  readonly pid: number;
  /** The PIDs it must have from the namespace it is born in outwards, if that is not all that `pid` says. */
  readonly numbers?: readonly number[] | undefined;
  /** Whether it is the init of a new PID namespace. */
  readonly isInit?: boolean;
  /** Whether it is born in another PID namespace than its maker. */
  readonly isFurtherIn?: boolean;
  /** Make it a child of the maker's parent. */
  readonly sibling: boolean;
  /** The signal its parent gets when it ends. */
  readonly exitSignal: number;
  /** The resources it shares with its maker. */
  readonly share: { readonly vm: boolean; readonly files: boolean; readonly fs: boolean; readonly sighand: boolean };
}

/** What seeds have in common that come from one another. */
export interface Kin {
  /**
   * Sets which number the kernel gives next in the PID namespace of the tree; undefined if that is ours. For those who
   * may choose none there.
   */
  setNext?: (pid: number) => void;
}

/** A clone3(2) call to be made in a seed. */
interface ClonePlan {
  readonly pid: number;
  readonly numbers?: readonly number[] | undefined;
  readonly flags: bigint;
  readonly exitSignal: number;
}

export class Seed implements Disposable {
  readonly tracee: Tracee;
  readonly remote: Remote;
  /** Our end of the socket through which descriptors are handed over. */
  readonly socket: Fd;
  /** The task's end of it. */
  readonly socketTarget: number;
  /** What seeds have in common that come from one another. */
  readonly kin: Kin;
  /** Whether its children are born in another PID namespace than ours, where they have other numbers. */
  readonly #isApart: boolean;
  /** Has the parent of a sibling that has ended reap it. */
  #reapSibling: ((pid: HostPid, parent: number) => void) | undefined;
  /** Whether children of it have ended, of which the kernel has told it. */
  discarded = false;

  private constructor(tracee: Tracee, socket: Fd, socketTarget: number, area: number, isApart: boolean, kin: Kin = {}) {
    this.kin = kin;
    this.#isApart = isApart;
    this.tracee = tracee;
    this.socket = socket;
    this.socketTarget = socketTarget;
    this.remote = new Remote(tracee, area, tracee.getRegisters(), SIG.TRAP);
  }

  /**
   * Makes a seed, traced and stopped, with its work area at `area`. It is killed if Stasis dies.
   * @throws StasisError kind 'conflict' when the PID is in use
   */
  static create(options: SeedOptions, area: number): Seed {
    const arch = thisArch();
    using executable = new Fd(syscall('memfd_create', arenaPath('stasis-seed'), MFD.CLOEXEC));
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
      return new Seed(tracee, ours, socketTarget, area, options.isApart ?? false);
    } catch (error) {
      ours[Symbol.dispose]();
      if (pid !== undefined) bury(pid);
      throw error;
    } finally {
      theirs[Symbol.dispose]();
    }
  }

  /**
   * Makes a seed, as {@link create}, whose PID does not matter: the kernel chooses it. Its work area is between its own
   * page and the kernel's mappings (stack, vdso), unless it is to have a certain address.
   * @throws StasisError
   */
  static anywhere(area = SEED_AREA): Seed {
    return Seed.create({ pid: undefined, sibling: false, taken: new Set() }, area);
  }

  /**
   * Makes this seed fork others: copies of it, with its work area and its end of the socket. They are traced and
   * stopped, and are killed if Stasis dies. All calls whose effect is to be inherited must have run before: {@link
   * Batch.flush}. `reapSibling` has the parent of a sibling that has ended reap it.
   * @throws StasisError kind 'conflict' when a PID is in use
   */
  fork(requests: readonly CloneRequest[], reapSibling?: (pid: HostPid, parent: number) => void): Seed[] {
    this.#reapSibling = reapSibling;
    const plans = requests.map(({ pid, numbers, isInit, sibling, exitSignal, share }) => ({
      pid,
      numbers,
      flags:
        CLONE.PTRACE |
        (isInit ? CLONE.NEWPID : 0n) |
        (sibling ? CLONE.PARENT : 0n) |
        (share.vm ? CLONE.VM : 0n) |
        (share.files ? CLONE.FILES : 0n) |
        (share.fs ? CLONE.FS : 0n) |
        (share.sighand ? CLONE.SIGHAND : 0n),
      // With CLONE_PARENT the exit signal is that of the maker, and clone3(2) refuses another one.
      exitSignal: sibling ? 0 : exitSignal,
    }));
    const { socket, socketTarget } = this;
    return this.#clone(plans).map((tracee, i) => {
      const isApart = this.#isApart || (requests[i]?.isFurtherIn ?? false);
      return new Seed(tracee, socket, socketTarget, this.remote.area, isApart, this.kin);
    });
  }

  /**
   * Makes threads of this seed's process with these TIDs, each in its PID namespace and in those further out. They are
   * traced and stopped.
   * @throws StasisError
   */
  threads(tids: readonly (readonly number[])[]): Remote[] {
    const flags = CLONE.PTRACE | CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.THREAD | CLONE.SYSVSEM;
    const { area } = this.remote;
    const born = this.#clone(tids.map((numbers) => ({ pid: numbers.at(-1) ?? 0, numbers, flags, exitSignal: 0 })));
    return born.map((tracee) => new Remote(tracee, area, tracee.getRegisters(), SIG.TRAP));
  }

  #clone(plans: readonly ClonePlan[]): Tracee[] {
    const born: Tracee[] = [];
    try {
      for (let at = 0; at < plans.length; at += CLONES_AT_ONCE) {
        this.#cloneSome(plans.slice(at, at + CLONES_AT_ONCE), born);
      }
      return born;
    } catch (error) {
      for (const { pid } of born) bury(pid);
      throw error;
    }
  }

  #cloneSome(lot: readonly ClonePlan[], born: Tracee[]): void {
    const program = this.remote.program();
    const calls = lot.map((plan) => addClone(program, plan, true));
    this.remote.run(program);
    const results = calls.map((call) => program.result(call));
    const made = results.filter((pid) => pid > 0);
    const hosts = this.#isApart ? hostPidsOf(this.tracee.pid, made) : made.map(hostPid);
    for (const pid of hosts) born.push(Tracee.born(pid));
    results.forEach((result, i) => {
      const plan = lot[i];
      if (result >= 0 || !plan) return;
      // Of several numbers nobody can say which come next.
      if (result !== -ERRNO.EPERM || (plan.numbers?.length ?? 1) > 1)
        throw spawnError(plan.pid, -result, this.#isApart);
      born.push(this.kin.setNext ? this.#cloneAfter(plan, this.kin.setNext) : this.#cloneNext(plan));
    });
  }

  /**
   * Makes a clone in a PID namespace in which this seed may choose no numbers, since that does not belong to its user
   * namespace: Stasis sets which number the kernel gives next, and others may be faster.
   * @throws StasisError kind 'conflict' when the PID is in use
   */
  #cloneNext(plan: ClonePlan): Tracee {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const program = this.remote.program();
      const call = addClone(program, plan, false);
      withNextPid(plan.pid, this.tracee.pid, () => this.remote.run(program));
      const made = program.result(call);
      if (made < 0) throw spawnError(plan.pid, -made);
      const tracee = Tracee.born(hostPid(made));
      if (made === plan.pid) return tracee;
      this.#discard(tracee, plan);
    }
    throw pidInUse(plan.pid);
  }

  /** The same in a PID namespace of the tree, in which nobody else makes processes meanwhile. */
  #cloneAfter(plan: ClonePlan, setNext: (pid: number) => void): Tracee {
    const program = this.remote.program();
    const call = addClone(program, plan, false);
    setNext(plan.pid);
    this.remote.run(program);
    const made = program.result(call);
    if (made < 0) throw spawnError(plan.pid, -made);
    const [host] = hostPidsOf(this.tracee.pid, [made]);
    const tracee = Tracee.born(host ?? hostPid(made));
    if (made === plan.pid) return tracee;
    bury(tracee.pid);
    throw pidInUse(plan.pid);
  }

  /** Ends a clone that has got another number than it was to have. */
  #discard(tracee: Tracee, { flags }: ClonePlan): void {
    if ((flags & CLONE.THREAD) !== 0n) {
      const remote = new Remote(tracee, this.remote.area, tracee.getRegisters(), SIG.TRAP);
      const program = remote.program();
      program.call('exit', 0);
      remote.start(program);
      tracee.awaitEnd();
      return;
    }
    const { ppid } = parseStat(readProc(tracee.pid, 'stat'));
    bury(tracee.pid);
    // Its parent reaps it at once, since its number may be one of the tree's.
    if (ppid === this.tracee.pid) this.reap(tracee.pid);
    else this.#reapSibling?.(tracee.pid, ppid);
  }

  /** Makes the seed reap a child that has ended. */
  reap(child: HostPid): void {
    this.discarded = true;
    this.remote.do((program) => program.call('wait4', Number(child), 0, W.ALL, 0));
  }

  /** Makes the process exit by itself. */
  exit(code: number): void {
    const program = this.remote.program();
    program.call('exit_group', code);
    this.remote.start(program);
  }

  /** Kills the task, and leaves it to the caller to wait for. Returns all of its threads that may be waited for. */
  kill(): HostPid[] {
    const { pid } = this.tracee;
    const threads = threadsOf(pid);
    this.socket[Symbol.dispose]();
    killTracee(pid);
    this.tracee.forget();
    return [pid, ...threads];
  }

  /** Kills and reaps the task. No error if it is gone already. */
  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    bury(this.tracee.pid);
    this.tracee.forget();
  }
}

/** An address that is free in a new seed: between its own page and the kernel's mappings (stack, vdso). */
export const SEED_AREA = 0x1000_0000;

/** How often a number is tried for that others may take. */
const MOST_ATTEMPTS = 200;

/** Adds a call that makes a clone, with the number that it is to have or with the next one. */
function addClone(program: Program, { pid, numbers = [pid], flags, exitSignal }: ClonePlan, chosen: boolean): Ref {
  const args = new BigUint64Array(CLONE_ARGS_SIZE.VER2 / 8);
  args[0] = flags;
  args[4] = BigInt(exitSignal);
  if (chosen) {
    // An even number of them, as of all data of a program.
    const padded = numbers.length % 2 === 0 ? numbers : [...numbers, 0];
    args[8] = BigInt(program.data(new Uint8Array(new Int32Array(padded).buffer)));
    args[9] = BigInt(numbers.length);
  }
  return program.attempt('clone3', program.data(new Uint8Array(args.buffer)), CLONE_ARGS_SIZE.VER2);
}

/** How many clones one program makes; its heap has room for that many. */
const CLONES_AT_ONCE = 256;

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
 * Kills a seed, or the process of a thread, and frees its PID. Its threads are traced, so Stasis has to reap them
 * first: before that the kernel does not report the end of the process (`delay_group_leader()` in kernel/exit.c).
 */
function bury(pid: HostPid): void {
  killTracee(pid);
  const [leader = pid, ...others] = threadsOf(pid);
  awaitEnds([...others, leader]);
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
  const pids = new Int32Array([options.pid ?? 0, 0]);
  args[0] = CLONE.VM | CLONE.VFORK | (options.sibling ? CLONE.PARENT : 0n) | (options.flags ?? 0n);
  args[4] = BigInt(options.sibling ? 0 : SIG.CHLD);
  args[5] = BigInt(stack);
  args[6] = BigInt(stackSize);
  if (options.pid !== undefined) {
    args[8] = BigInt(pins.address(pids));
    args[9] = 1n;
  }
  return withSignalsBlocked(() => trySyscall('clone3', args, CLONE_ARGS_SIZE.VER2));
}

function spawnError(pid: number | undefined, errno: number, isApart = false): StasisError {
  if (pid === undefined) return new SyscallError('clone3', errno);
  if (errno === ERRNO.EEXIST && isApart) {
    const reason = 'the number is in use in the PID namespace that the tree is restored into';
    return new StasisError({ kind: 'conflict', code: 'PID_TAKEN', resource: `PID ${pid}`, reason });
  }
  if (errno === ERRNO.EEXIST) {
    return pidInUse(pid);
  }
  return new SyscallError('clone3', errno, { resource: `PID ${pid}`, remedy: 'CAP_CHECKPOINT_RESTORE is needed' });
}
