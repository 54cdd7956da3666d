/** The messages of CRIU's RPC: requests, responses, options, notifications. */

import { bool, enumerated, int32, message, nested, optional, repeated, type TypeOf, text, uint32 } from '../message.ts';

/** How cgroups are treated (`--manage-cgroups`). */
export const CriuCgMode = {
  IGNORE: 0,
  CG_NONE: 1,
  PROPS: 2,
  SOFT: 3,
  FULL: 4,
  STRICT: 5,
  DEFAULT: 6,
} as const;

/** How the network is locked (`--network-lock`). */
export const CriuNetworkLockMethod = {
  IPTABLES: 1,
  NFTABLES: 2,
  SKIP: 3,
} as const;

/** How a pre-dump reads memory (`--pre-dump-mode`). */
export const CriuPreDumpMode = {
  SPLICE: 1,
  VM_READ: 2,
} as const;

/** The kinds of requests and responses. */
export const CriuReqType = {
  EMPTY: 0,
  DUMP: 1,
  RESTORE: 2,
  CHECK: 3,
  PRE_DUMP: 4,
  PAGE_SERVER: 5,
  NOTIFY: 6,
  CPUINFO_DUMP: 7,
  CPUINFO_CHECK: 8,
  FEATURE_CHECK: 9,
  VERSION: 10,
  WAIT_PID: 11,
  PAGE_SERVER_CHLD: 12,
  SINGLE_PRE_DUMP: 13,
} as const;

/** Where a page server is, or how it was started. */
export const criuPageServerInfo = message('criu_page_server_info', () => ({
  address: optional(text(1)),
  port: optional(int32(2)),
  pid: optional(int32(3)),
  fd: optional(int32(4)),
}));
export type CriuPageServerInfo = TypeOf<typeof criuPageServerInfo>;

/** A pair of virtual Ethernet devices, inside and outside. */
export const criuVethPair = message('criu_veth_pair', () => ({
  if_in: text(1),
  if_out: text(2),
}));
export type CriuVethPair = TypeOf<typeof criuVethPair>;

/** An external mount and its key. */
export const extMountMap = message('ext_mount_map', () => ({
  key: text(1),
  val: text(2),
}));
export type ExtMountMap = TypeOf<typeof extMountMap>;

/** A namespace to restore into. */
export const joinNamespace = message('join_namespace', () => ({
  ns: text(1),
  ns_file: text(2),
  extra_opt: optional(text(3)),
}));
export type JoinNamespace = TypeOf<typeof joinNamespace>;

/** A descriptor to be used in place of a file. */
export const inheritFd = message('inherit_fd', () => ({
  key: text(1),
  fd: int32(2),
}));
export type InheritFd = TypeOf<typeof inheritFd>;

/** Where the cgroups of a controller begin (`--cgroup-root`). */
export const cgroupRoot = message('cgroup_root', () => ({
  ctrl: optional(text(1)),
  path: text(2),
}));
export type CgroupRoot = TypeOf<typeof cgroupRoot>;

/** An external unix socket. */
export const unixSk = message('unix_sk', () => ({
  inode: uint32(1),
}));
export type UnixSk = TypeOf<typeof unixSk>;

/** All options of a request. */
export const criuOpts = message('criu_opts', () => ({
  images_dir_fd: int32(1),
  images_dir: optional(text(68)),
  pid: optional(int32(2)),
  leave_running: optional(bool(3)),
  ext_unix_sk: optional(bool(4)),
  tcp_established: optional(bool(5)),
  evasive_devices: optional(bool(6)),
  shell_job: optional(bool(7)),
  file_locks: optional(bool(8)),
  log_level: optional(int32(9), 2),
  log_file: optional(text(10)),
  ps: optional(nested(11, criuPageServerInfo)),
  notify_scripts: optional(bool(12)),
  root: optional(text(13)),
  parent_img: optional(text(14)),
  track_mem: optional(bool(15)),
  auto_dedup: optional(bool(16)),
  work_dir_fd: optional(int32(17)),
  link_remap: optional(bool(18)),
  veths: repeated(nested(19, criuVethPair)),
  cpu_cap: optional(uint32(20), 0xffffffff),
  force_irmap: optional(bool(21)),
  exec_cmd: repeated(text(22)),
  ext_mnt: repeated(nested(23, extMountMap)),
  manage_cgroups: optional(bool(24)),
  cg_root: repeated(nested(25, cgroupRoot)),
  rst_sibling: optional(bool(26)),
  inherit_fd: repeated(nested(27, inheritFd)),
  auto_ext_mnt: optional(bool(28)),
  ext_sharing: optional(bool(29)),
  ext_masters: optional(bool(30)),
  skip_mnt: repeated(text(31)),
  enable_fs: repeated(text(32)),
  unix_sk_ino: repeated(nested(33, unixSk)),
  manage_cgroups_mode: optional(enumerated(34, CriuCgMode)),
  ghost_limit: optional(uint32(35), 0x100000),
  irmap_scan_paths: repeated(text(36)),
  external: repeated(text(37)),
  empty_ns: optional(uint32(38)),
  join_ns: repeated(nested(39, joinNamespace)),
  cgroup_props: optional(text(41)),
  cgroup_props_file: optional(text(42)),
  cgroup_dump_controller: repeated(text(43)),
  freeze_cgroup: optional(text(44)),
  timeout: optional(uint32(45)),
  tcp_skip_in_flight: optional(bool(46)),
  weak_sysctls: optional(bool(47)),
  lazy_pages: optional(bool(48)),
  status_fd: optional(int32(49)),
  orphan_pts_master: optional(bool(50)),
  config_file: optional(text(51)),
  tcp_close: optional(bool(52)),
  lsm_profile: optional(text(53)),
  tls_cacert: optional(text(54)),
  tls_cacrl: optional(text(55)),
  tls_cert: optional(text(56)),
  tls_key: optional(text(57)),
  tls: optional(bool(58)),
  tls_no_cn_verify: optional(bool(59)),
  cgroup_yard: optional(text(60)),
  pre_dump_mode: optional(enumerated(61, CriuPreDumpMode), CriuPreDumpMode.SPLICE),
  pidfd_store_sk: optional(int32(62)),
  lsm_mount_context: optional(text(63)),
  network_lock: optional(enumerated(64, CriuNetworkLockMethod), CriuNetworkLockMethod.IPTABLES),
  mntns_compat_mode: optional(bool(65)),
  skip_file_rwx_check: optional(bool(66)),
  unprivileged: optional(bool(67)),
  leave_stopped: optional(bool(69)),
  display_stats: optional(bool(70)),
  log_to_stderr: optional(bool(71)),
}));
export type CriuOpts = TypeOf<typeof criuOpts>;

/** The answer to a dump. */
export const criuDumpResp = message('criu_dump_resp', () => ({
  restored: optional(bool(1)),
}));
export type CriuDumpResp = TypeOf<typeof criuDumpResp>;

/** The answer to a restore. */
export const criuRestoreResp = message('criu_restore_resp', () => ({
  pid: int32(1),
}));
export type CriuRestoreResp = TypeOf<typeof criuRestoreResp>;

/** A notification: a point of the work that the client is told of. */
export const criuNotify = message('criu_notify', () => ({
  script: optional(text(1)),
  pid: optional(int32(2)),
}));
export type CriuNotify = TypeOf<typeof criuNotify>;

/** Features of the kernel and the program: in a request those asked about, in a response those found. */
export const criuFeatures = message('criu_features', () => ({
  mem_track: optional(bool(1)),
  lazy_pages: optional(bool(2)),
  pidfd_store: optional(bool(3)),
}));
export type CriuFeatures = TypeOf<typeof criuFeatures>;

/** A request. */
export const criuReq = message('criu_req', () => ({
  type: enumerated(1, CriuReqType),
  opts: optional(nested(2, criuOpts)),
  notify_success: optional(bool(3)),
  keep_open: optional(bool(4)),
  features: optional(nested(5, criuFeatures)),
  pid: optional(uint32(6)),
}));
export type CriuReq = TypeOf<typeof criuReq>;

/** A response. */
export const criuResp = message('criu_resp', () => ({
  type: enumerated(1, CriuReqType),
  success: bool(2),
  dump: optional(nested(3, criuDumpResp)),
  restore: optional(nested(4, criuRestoreResp)),
  notify: optional(nested(5, criuNotify)),
  ps: optional(nested(6, criuPageServerInfo)),
  cr_errno: optional(int32(7)),
  features: optional(nested(8, criuFeatures)),
  cr_errmsg: optional(text(9)),
  version: optional(nested(10, criuVersion)),
  status: optional(int32(11)),
}));
export type CriuResp = TypeOf<typeof criuResp>;

/** The version of the program. */
export const criuVersion = message('criu_version', () => ({
  major_number: int32(1),
  minor_number: int32(2),
  gitid: optional(text(3)),
  sublevel: optional(int32(4)),
  extra: optional(int32(5)),
  name: optional(text(6)),
}));
export type CriuVersion = TypeOf<typeof criuVersion>;
