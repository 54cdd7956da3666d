/**
 * The seed: an almost empty process that is turned into a restored task.
 * How its process is made is in spawn-seed.ts, how it makes others in clones.ts.
 */

import type { HostPid } from '../base/brands.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { CLONE } from '../kernel/constants/tasks.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { threadsOf } from '../kernel/proc/tree.ts';
import type { Fd } from '../kernel/syscall.ts';
import { bury } from './bury.ts';
import { type Kin, type Maker, makeClones } from './clones.ts';
import { killTracee } from './ptrace.ts';
import { Remote } from './remote.ts';
import { type SeedOptions, spawnSeed } from './spawn-seed.ts';
import type { Tracee } from './tracee.ts';

/** An address that is free in a new seed: between its own page and the kernel's mappings (stack, vdso). */
export const SEED_AREA = 0x1000_0000;

/** A seed to be cloned by another seed. */
export interface CloneRequest {
  /** The PID it must have, in the PID namespace of its maker; in others, where `numbers` has more. */
  readonly pid: number;
  /** The PIDs it must have from the namespace it is born in outwards, if that is not all that `pid` says. */
  readonly numbers?: readonly number[] | undefined;
  /** The ID of the PID namespace it is born in, if that is not the one of its maker. */
  readonly namespace?: number | undefined;
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

/** The numbers of a process from our PID namespace inwards; none where the kernel does not tell them. */
function numbersOf(pid: HostPid): readonly number[] {
  return parseStatus(readProc(pid, 'status')).nsPid ?? [];
}

export class Seed implements Disposable, Maker {
  readonly tracee: Tracee;
  readonly remote: Remote;
  /** Our end of the socket through which descriptors are handed over. */
  readonly socket: Fd;
  /** The task's end of it. */
  readonly socketTarget: number;
  /** What seeds have in common that come from one another. */
  readonly kin: Kin;
  /** Whether its children are born in another PID namespace than ours, where they have other numbers. */
  readonly isApart: boolean;
  /** The ID of the PID namespace it is in; undefined for that of the tree's root. */
  namespace: number | undefined;
  /** Has the parent of a sibling that has ended reap it. */
  reapSibling: ((pid: HostPid, parent: number) => void) | undefined;
  /** Whether children of it have ended, of which the kernel has told it. */
  discarded = false;

  private constructor(tracee: Tracee, socket: Fd, socketTarget: number, area: number, isApart: boolean, kin: Kin = {}) {
    this.kin = kin;
    this.isApart = isApart;
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
    const { tracee, socket, socketTarget } = spawnSeed(options, area);
    return new Seed(tracee, socket, socketTarget, area, options.isApart ?? false);
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
    this.reapSibling = reapSibling;
    const plans = requests.map(({ pid, numbers, namespace = this.namespace, isInit, sibling, exitSignal, share }) => ({
      pid,
      numbers,
      namespace,
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
    return makeClones(this, plans).map((tracee, i) => {
      const isApart = this.isApart || (requests[i]?.isFurtherIn ?? false);
      const seed = new Seed(tracee, socket, socketTarget, this.remote.area, isApart, this.kin);
      seed.namespace = plans[i]?.namespace;
      return seed;
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
    const born = makeClones(
      this,
      tids.map((numbers) => ({ pid: numbers.at(-1) ?? 0, numbers, namespace: this.namespace, flags, exitSignal: 0 })),
    );
    return born.map((tracee) => new Remote(tracee, area, tracee.getRegisters(), SIG.TRAP));
  }

  /** Makes the seed reap a child that has ended. */
  reap(child: HostPid): void {
    this.discarded = true;
    // As those in its PID namespace call it.
    const level = numbersOf(this.tracee.pid).length;
    const number = numbersOf(child)[level - 1] ?? child;
    this.remote.do((program) => program.call('wait4', Number(number), 0, W.ALL, 0));
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
