/**
 * Clones of a seed, with the numbers that they are to have: by clone3(2), or where a seed may choose none, by setting
 * which number the kernel gives next.
 */
import { type HostPid, hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { Part } from '../base/part.ts';
import { CLONE_ARGS_SIZE } from '../kernel/constants/tasks.ts';
import { pidInUse } from '../kernel/pid-in-use.ts';
import { ERRNO, SyscallError } from '../kernel/syscall.ts';
import { bury } from './bury.ts';
import { hostPidsOf } from './host-pids.ts';
import type { Program, Ref } from './program.ts';
import type { Remote } from './remote.ts';
import { Tracee } from './tracee.ts';

/** What seeds have in common that come from one another. */
export interface Kin {
  /**
   * Sets which numbers the kernel gives next in PID namespaces that are not ours: in the one with this ID, or that of
   * the tree's root, and in those around it. For those who may choose none there.
   */
  setNext?: (namespace: number | undefined, numbers: readonly number[]) => void;
  /** Whether the PID namespace of the tree's root, which gives the last of several numbers, is not ours. */
  isApart?: boolean;
}

/** Who makes clones of itself: a seed. */
export interface Maker {
  readonly tracee: Tracee;
  readonly remote: Remote;
  readonly kin: Kin;
  /** Whether its children are born in another PID namespace than ours, where they have other numbers. */
  readonly isApart: boolean;
  /** Reaps a child that has ended. */
  reap(child: HostPid): void;
  /** Has the parent of a sibling that has ended reap it. */
  readonly reapSibling: ((pid: HostPid, parent: number) => void) | undefined;
}

/** A clone3(2) call to be made in a seed. */
export interface ClonePlan {
  readonly pid: number;
  readonly numbers?: readonly number[] | undefined;
  /** The ID of the PID namespace that it is born in; undefined for that of the tree's root. */
  readonly namespace?: number | undefined;
  readonly flags: bigint;
  readonly exitSignal: number;
}

// For seeds that may choose no numbers.
const NEXT = new Part(() => require('./clone-next.ts') as typeof import('./clone-next.ts'));

/** How many clones one program makes; its heap has room for that many. */
const CLONES_AT_ONCE = 256;

/** Has a seed make clones of itself, traced and stopped. @throws StasisError kind 'conflict' when a PID is in use */
export function makeClones(maker: Maker, plans: readonly ClonePlan[]): Tracee[] {
  const born: Tracee[] = [];
  try {
    for (let at = 0; at < plans.length; at += CLONES_AT_ONCE) {
      cloneSome(maker, plans.slice(at, at + CLONES_AT_ONCE), born);
    }
    return born;
  } catch (error) {
    for (const { pid } of born) bury(pid);
    throw error;
  }
}

function cloneSome(maker: Maker, lot: readonly ClonePlan[], born: Tracee[]): void {
  const program = maker.remote.program();
  const calls = lot.map((plan) => addClone(program, plan, true));
  maker.remote.run(program);
  const results = calls.map((call) => program.result(call));
  const made = results.filter((pid) => pid > 0);
  const hosts = maker.isApart ? hostPidsOf(maker.tracee.pid, made) : made.map(hostPid);
  for (const pid of hosts) born.push(Tracee.born(pid));
  results.forEach((result, i) => {
    const plan = lot[i];
    if (result >= 0 || !plan) return;
    if (result !== -ERRNO.EPERM) throw spawnError(plan.pid, -result, maker.isApart);
    born.push(NEXT.load().cloneNext(maker, plan));
  });
}

/** Adds a call that makes a clone, with the number that it is to have or with the next one. */
export function addClone(
  program: Program,
  { pid, numbers = [pid], flags, exitSignal }: ClonePlan,
  chosen: boolean,
): Ref {
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

/** The error for a process that could not be made with a PID; any, if undefined. */
export function spawnError(pid: number | undefined, errno: number, isApart = false): StasisError {
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
