/** Tasks (include/uapi/linux/sched.h, sched/types.h, prctl.h, capability.h, futex.h, rseq.h, resource.h). */

import { bytes, i32, i64, struct, u32, u64, type ValueOf } from './struct.ts';

/** `struct rlimit64`, of prlimit64. */
export const Rlimit64 = struct({ cur: u64, max: u64 });

/** `struct clone_args`, of clone3; 88 bytes since 5.7 (`setTid` since 5.5, then 80 bytes). */
export const CloneArgs = struct({
  flags: u64,
  pidfd: u64,
  childTid: u64,
  parentTid: u64,
  exitSignal: u64,
  stack: u64,
  stackSize: u64,
  tls: u64,
  /** Address of an array of pids, the innermost pid namespace first. */
  setTid: u64,
  setTidSize: u64,
  cgroup: u64,
});
export type CloneArgs = ValueOf<typeof CloneArgs>;

/** `struct prctl_mm_map`, of PR_SET_MM_MAP. Every field counts: what is not given becomes zero and is refused. */
export const PrctlMmMap = struct({
  startCode: u64,
  endCode: u64,
  startData: u64,
  endData: u64,
  startBrk: u64,
  brk: u64,
  startStack: u64,
  argStart: u64,
  argEnd: u64,
  envStart: u64,
  envEnd: u64,
  /** Address of the auxiliary vector, and its size in bytes; 0 leaves it as it is. */
  auxv: u64,
  auxvSize: u32,
  /** A descriptor, or 0xffffffff to leave it as it is. */
  exeFd: u32,
});
export type PrctlMmMap = ValueOf<typeof PrctlMmMap>;

/** `struct sched_attr`; `size` is to be 56 (48 before 5.3, without the clamps). */
export const SchedAttr = struct({
  size: u32,
  policy: u32,
  flags: u64,
  nice: i32,
  priority: u32,
  /** Nanoseconds, for SCHED_DEADLINE; the slice for SCHED_NORMAL since 6.12. */
  runtime: u64,
  deadline: u64,
  period: u64,
  utilMin: u32,
  utilMax: u32,
});
export type SchedAttr = ValueOf<typeof SchedAttr>;

/** `struct robust_list_head`, in the task's memory. */
export const RobustListHead = struct({ next: u64, futexOffset: i64, pending: u64 });

/** `struct rseq` as of 4.18; the kernel's size may be larger. */
export const Rseq = struct({ cpuIdStart: u32, cpuId: u32, rseqCs: u64, flags: u32, nodeId: u32, mmCid: u32 });

/**
 * `struct rseq_cs`, a critical section: interrupted in `[startIp, startIp + postCommitOffset)` it goes on at `abortIp`.
 */
export const RseqCs = struct({ version: u32, flags: u32, startIp: u64, postCommitOffset: u64, abortIp: u64 });
export type RseqCs = ValueOf<typeof RseqCs>;

/** `struct __user_cap_header_struct`. */
export const CapHeader = struct({ version: u32, pid: i32 });

/** The three sets capset takes, whole. */
export interface CapSets {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
}

/** `struct __user_cap_data_struct`, used twice: capabilities 0 to 31, then 32 to 63. */
export const CapWord = struct({ effective: u32, permitted: u32, inheritable: u32 });
const LOW = 0xffffffffn;

/** The data argument of capset: 24 bytes. */
export function encodeCapSets(sets: CapSets): Uint8Array {
  const out = new Uint8Array(2 * CapWord.size);
  const word = (shift: bigint) => ({
    effective: Number((sets.effective >> shift) & LOW),
    permitted: Number((sets.permitted >> shift) & LOW),
    inheritable: Number((sets.inheritable >> shift) & LOW),
  });
  CapWord.encodeInto(out, 0, word(0n));
  CapWord.encodeInto(out, CapWord.size, word(32n));
  return out;
}

/** What capget wrote. */
export function decodeCapSets(from: Uint8Array): CapSets {
  const low = CapWord.decode(from);
  const high = CapWord.decode(from, CapWord.size);
  const whole = (l: number, h: number) => (BigInt(h) << 32n) | BigInt(l);
  return {
    effective: whole(low.effective, high.effective),
    permitted: whole(low.permitted, high.permitted),
    inheritable: whole(low.inheritable, high.inheritable),
  };
}

/** `struct new_utsname`, of uname(2): texts that end in NUL. */
export const Utsname = struct({
  sysname: bytes(65),
  nodename: bytes(65),
  release: bytes(65),
  version: bytes(65),
  machine: bytes(65),
  domainname: bytes(65),
});
