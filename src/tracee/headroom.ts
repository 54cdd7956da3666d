/**
 * Resource limits that a task has reached, so that the work area cannot be mapped. They are raised while the area
 * exists, by the task itself, since others would need CAP_SYS_RESOURCE. The code for that lies in memory like the cave,
 * and so does the code that restores the limits: if Stasis dies, the task runs it when it leaves.
 */
import { LIMITS_MARK, type LiftedLimit } from '../arch/arch.ts';
import { StasisError, type TaskRef } from '../base/errors.ts';
import { capBit, RLIMIT, RLIMIT_NAMES } from '../kernel/constants/tasks.ts';
import type { Rlimit } from '../kernel/proc/limits.ts';
import type { ProcStatus } from '../kernel/proc/status.ts';
import type { Fd } from '../kernel/syscall.ts';
import { CAVE_SIZE, type Mapping } from './cave.ts';
import { forceRead } from './memory.ts';
import { AREA } from './program.ts';
import type { Tracee } from './tracee.ts';

/** Size in bytes of the code, which lies below the cave. */
export const LIMITS_SIZE = 512;

/** The memory use and limits of a process. */
export interface Allowance {
  readonly ref: TaskRef;
  readonly status: Pick<ProcStatus, 'vmSize' | 'vmData' | 'vmLocked' | 'capEff' | 'seccomp'>;
  readonly limits: readonly Rlimit[];
}

/** A limit that the work area would exceed. */
interface Reached {
  readonly resource: number;
  /** The limit that is needed, in bytes. */
  readonly needed: bigint;
  readonly limit: Rlimit;
}

function reached({ status, limits }: Allowance): Reached[] {
  const { vmSize = 0, vmData = 0, vmLocked = 0, capEff } = status;
  // Whether new mappings are locked (MCL_FUTURE) cannot be seen from outside. If so, some memory is locked already.
  const locks = vmLocked > 0 && (capEff & capBit('IPC_LOCK')) === 0n;
  const uses: readonly (readonly [resource: number, bytes: number])[] = [
    [RLIMIT.AS, vmSize + AREA.length],
    [RLIMIT.DATA, vmData + AREA.length],
    ...(locks ? [[RLIMIT.MEMLOCK, vmLocked + AREA.length] as const] : []),
  ];
  return uses.flatMap(([resource, bytes]) => {
    const limit = limits[resource];
    const needed = BigInt(bytes);
    return limit && limit.cur < needed ? [{ resource, needed, limit }] : [];
  });
}

/** The limits that have to be raised to their hard limits for the work area. Pure. */
export function limitsToLift(allowance: Allowance): LiftedLimit[] {
  return reached(allowance)
    .filter(({ needed, limit }) => limit.max >= needed)
    .map(({ resource, limit }) => ({ resource, own: limit, lifted: { cur: limit.max, max: limit.max } }));
}

/** The obstacles if the work area cannot be mapped even with raised limits. Uncertain ones are not reported. Pure. */
export function headroomObstacles(allowance: Allowance): StasisError[] {
  const { ref, status } = allowance;
  return reached(allowance).flatMap(({ resource, needed, limit }) => {
    if (resource === RLIMIT.MEMLOCK) return [];
    const name = RLIMIT_NAMES[resource] ?? String(resource);
    const facts = { kind: 'unsupported', code: 'NO_HEADROOM', task: ref, resource: `RLIMIT_${name}` } as const;
    const remedy = `raise the limit: prlimit --pid ${ref.pid} --${name.toLowerCase()}=${needed}`;
    if (limit.max < needed) {
      const reason = `the process may have ${limit.max} bytes of memory, and has them but for less than Stasis needs`;
      return [new StasisError({ ...facts, reason, remedy })];
    }
    if (!status.seccomp) return [];
    const reason = 'the process has reached the limit, and because of seccomp it cannot be lifted for the moment';
    return [new StasisError({ ...facts, reason, remedy })];
  });
}

/**
 * Finds room for the code: below the cave, in the zero tail of an executable mapping. Code that a killed Stasis left
 * there can be replaced, unless one of `tracees` is in it, or in a signal handler that will return to it.
 * @throws StasisError
 */
export function findLimitsRoom(ref: TaskRef, tracees: readonly Tracee[], mem: Fd, maps: readonly Mapping[]): number {
  const tail = new Uint8Array(LIMITS_SIZE);
  for (const { start, end, prot, shared, name } of maps) {
    if ((prot & 4) === 0 || shared || name === '[vsyscall]') continue;
    const at = end - CAVE_SIZE - LIMITS_SIZE;
    if (at < start || forceRead(mem, at, tail) !== LIMITS_SIZE) continue;
    if (tail.every((byte) => byte === 0)) return at;
    if (!LIMITS_MARK.every((byte, i) => tail[LIMITS_SIZE - LIMITS_MARK.length + i] === byte)) continue;
    if (!tracees.some((tracee) => isInside(tracee, at, mem, maps))) return at;
    const reason = 'the task is about to leave the code of a Stasis that was killed a moment ago';
    throw new StasisError({ kind: 'conflict', code: 'TASK_HAS_STASIS_CODE', task: ref, reason, remedy: 'try again' });
  }
  const reason = 'it has reached a limit, and no executable mapping has room for the code that lifts it for the moment';
  throw new StasisError({ kind: 'unsupported', code: 'NO_ROOM_FOR_CODE', task: ref, reason });
}

/** Bytes of a stack that are searched for signal frames. */
const LOOKED_AT = 256 * 1024;

function isInside(tracee: Tracee, at: number, mem: Fd, maps: readonly Mapping[]): boolean {
  const { arch } = tracee;
  const registers = tracee.getRegisters();
  const pc = Number(arch.pc(registers));
  if (pc >= at && pc < at + LIMITS_SIZE) return true;
  const sp = Number(arch.sp(registers) & ~7n);
  const end = maps.find((m) => sp >= m.start && sp < m.end)?.end ?? sp;
  const words = new Uint32Array(Math.min(end - sp, LOOKED_AT) / 4);
  const got = forceRead(mem, sp, new Uint8Array(words.buffer));
  return arch.returnsInto(words.subarray(0, Math.max(0, got) / 4), at, at + LIMITS_SIZE);
}
