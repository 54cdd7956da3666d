/** One thread, and for a leader its process: everything that is neither memory nor files. */

import {
  bool,
  bytes,
  enumerated,
  int32,
  message,
  nested,
  optional,
  repeated,
  sint32,
  type TypeOf,
  text,
  uint32,
  uint64,
} from '../message.ts';
import { threadInfoAarch64, threadInfoArm } from './core-arm.ts';
import { threadInfoLoongarch64, threadInfoMips, threadInfoRiscv64, threadInfoS390 } from './core-others.ts';
import { threadInfoPpc64 } from './core-ppc64.ts';
import { threadInfoX86 } from './core-x86.ts';

/** `SECCOMP_MODE_*`. */
export const SeccompMode = {
  disabled: 0,
  strict: 1,
  filter: 2,
} as const;

/** The architecture of a core image, which decides which `thread_info` it has. */
export const March = {
  UNKNOWN: 0,
  X86_64: 1,
  ARM: 2,
  AARCH64: 3,
  PPC64: 4,
  S390: 5,
  MIPS: 6,
  LOONGARCH64: 7,
  RISCV64: 8,
} as const;

/** `task_state`: in what state a process is restored. */
export const TaskState = { ALIVE: 1, DEAD: 2, STOPPED: 3 } as const;

/** State of a process; only in the image of its leader. */
export const taskCoreEntry = message('task_core_entry', () => ({
  task_state: uint32(1, 'gen'),
  exit_code: uint32(2),
  personality: uint32(3),
  flags: uint32(4),
  blk_sigset: uint64(5, 'hex'),
  comm: text(6),
  timers: optional(nested(7, taskTimersEntry)),
  rlimits: optional(nested(8, taskRlimitsEntry)),
  cg_set: optional(uint32(9)),
  signals_s: optional(nested(10, signalQueueEntry)),
  old_seccomp_mode: optional(enumerated(11, SeccompMode)),
  old_seccomp_filter: optional(uint32(12)),
  loginuid: optional(uint32(13)),
  oom_score_adj: optional(int32(14)),
  sigactions: repeated(nested(15, saEntry)),
  child_subreaper: optional(bool(18)),
  blk_sigset_extended: optional(uint64(20, 'hex')),
  stop_signo: optional(uint32(21)),
  membarrier_registration_mask: optional(uint32(22, 'hex')),
}));
export type TaskCoreEntry = TypeOf<typeof taskCoreEntry>;

/** IDs of the kernel objects that a task uses. Tasks with equal IDs share the object. Also `ids-%u.img`. */
export const taskKobjIdsEntry = message('task_kobj_ids_entry', () => ({
  vm_id: uint32(1),
  files_id: uint32(2),
  fs_id: uint32(3),
  sighand_id: uint32(4),
  pid_ns_id: optional(uint32(5)),
  net_ns_id: optional(uint32(6)),
  ipc_ns_id: optional(uint32(7)),
  uts_ns_id: optional(uint32(8)),
  mnt_ns_id: optional(uint32(9)),
  user_ns_id: optional(uint32(10)),
  cgroup_ns_id: optional(uint32(11)),
  time_ns_id: optional(uint32(12)),
}));
export type TaskKobjIdsEntry = TypeOf<typeof taskKobjIdsEntry>;

/** The alternate signal stack. */
export const threadSasEntry = message('thread_sas_entry', () => ({
  ss_sp: uint64(1),
  ss_size: uint64(2),
  ss_flags: uint32(3),
}));
export type ThreadSasEntry = TypeOf<typeof threadSasEntry>;

/** State of a thread. */
export const threadCoreEntry = message('thread_core_entry', () => ({
  futex_rla: uint64(1),
  futex_rla_len: uint32(2),
  sched_nice: optional(sint32(3)),
  sched_policy: optional(uint32(4)),
  sched_prio: optional(uint32(5)),
  blk_sigset: optional(uint64(6)),
  sas: optional(nested(7, threadSasEntry)),
  pdeath_sig: optional(uint32(8)),
  signals_p: optional(nested(9, signalQueueEntry)),
  creds: optional(nested(10, credsEntry)),
  seccomp_mode: optional(enumerated(11, SeccompMode)),
  seccomp_filter: optional(uint32(12)),
  comm: optional(text(13)),
  blk_sigset_extended: optional(uint64(14)),
  rseq_entry: optional(nested(15, rseqEntry)),
  cg_set: optional(uint32(16)),
}));
export type ThreadCoreEntry = TypeOf<typeof threadCoreEntry>;

/** All resource limits, in the order of their numbers. */
export const taskRlimitsEntry = message('task_rlimits_entry', () => ({
  rlimits: repeated(nested(1, rlimitEntry)),
}));
export type TaskRlimitsEntry = TypeOf<typeof taskRlimitsEntry>;

/** `core-%u.img`: one thread. */
export const coreEntry = message('core_entry', () => ({
  mtype: enumerated(1, March),
  thread_info: optional(nested(2, threadInfoX86)),
  ti_arm: optional(nested(6, threadInfoArm)),
  ti_aarch64: optional(nested(8, threadInfoAarch64)),
  ti_ppc64: optional(nested(9, threadInfoPpc64)),
  ti_s390: optional(nested(10, threadInfoS390)),
  ti_mips: optional(nested(11, threadInfoMips)),
  ti_loongarch64: optional(nested(12, threadInfoLoongarch64)),
  ti_riscv64: optional(nested(13, threadInfoRiscv64)),
  tc: optional(nested(3, taskCoreEntry)),
  ids: optional(nested(4, taskKobjIdsEntry)),
  thread_core: optional(nested(5, threadCoreEntry)),
}));
export type CoreEntry = TypeOf<typeof coreEntry>;

/** One resource limit. */
export const rlimitEntry = message('rlimit_entry', () => ({
  cur: uint64(1),
  max: uint64(2),
}));
export type RlimitEntry = TypeOf<typeof rlimitEntry>;

/** An interval timer: its interval and the time that is left, each in seconds and microseconds. */
export const itimerEntry = message('itimer_entry', () => ({
  isec: uint64(1),
  iusec: uint64(2),
  vsec: uint64(3),
  vusec: uint64(4),
}));
export type ItimerEntry = TypeOf<typeof itimerEntry>;

/** A POSIX timer: its interval and the time that is left, each in seconds and nanoseconds. */
export const posixTimerEntry = message('posix_timer_entry', () => ({
  it_id: uint32(1),
  clock_id: uint32(2),
  si_signo: uint32(3),
  it_sigev_notify: uint32(4),
  sival_ptr: uint64(5),
  overrun: uint32(6),
  isec: uint64(7),
  insec: uint64(8),
  vsec: uint64(9),
  vnsec: uint64(10),
  notify_thread_id: optional(int32(11)),
}));
export type PosixTimerEntry = TypeOf<typeof posixTimerEntry>;

/** All timers of a process. */
export const taskTimersEntry = message('task_timers_entry', () => ({
  real: nested(1, itimerEntry),
  virt: nested(2, itimerEntry),
  prof: nested(3, itimerEntry),
  posix: repeated(nested(4, posixTimerEntry)),
}));
export type TaskTimersEntry = TypeOf<typeof taskTimersEntry>;

/** Credentials of a thread; each capability set as two words, low first. */
export const credsEntry = message('creds_entry', () => ({
  uid: uint32(1),
  gid: uint32(2),
  euid: uint32(3),
  egid: uint32(4),
  suid: uint32(5),
  sgid: uint32(6),
  fsuid: uint32(7),
  fsgid: uint32(8),
  cap_inh: repeated(uint32(9)),
  cap_prm: repeated(uint32(10)),
  cap_eff: repeated(uint32(11)),
  cap_bnd: repeated(uint32(12)),
  secbits: uint32(13),
  groups: repeated(uint32(14)),
  lsm_profile: optional(text(15)),
  lsm_sockcreate: optional(text(16)),
  apparmor_data: optional(bytes(17)),
  no_new_privs: optional(uint32(18)),
  cap_amb: repeated(uint32(19)),
}));
export type CredsEntry = TypeOf<typeof credsEntry>;

/** The action of one signal. */
export const saEntry = message('sa_entry', () => ({
  sigaction: uint64(1, 'hex'),
  flags: uint64(2, 'hex'),
  restorer: uint64(3, 'hex'),
  mask: uint64(4, 'hex'),
  compat_sigaction: optional(bool(5)),
  mask_extended: optional(uint64(6, 'hex')),
}));
export type SaEntry = TypeOf<typeof saEntry>;

/** A pending signal's `siginfo_t`. */
export const siginfoEntry = message('siginfo_entry', () => ({
  siginfo: bytes(1),
}));
export type SiginfoEntry = TypeOf<typeof siginfoEntry>;

/** Pending signals, oldest first. */
export const signalQueueEntry = message('signal_queue_entry', () => ({
  signals: repeated(nested(1, siginfoEntry)),
}));
export type SignalQueueEntry = TypeOf<typeof signalQueueEntry>;

/** A registered restartable-sequence area. */
export const rseqEntry = message('rseq_entry', () => ({
  rseq_abi_pointer: uint64(1),
  rseq_abi_size: uint32(2),
  signature: uint32(3),
  rseq_cs_pointer: optional(uint64(4)),
}));
export type RseqEntry = TypeOf<typeof rseqEntry>;
