/** Mount namespaces. */

import { bool, int32, message, optional, type TypeOf, text, uint32 } from '../message.ts';

/** File systems that get special treatment; 0 is any other. */
export const Fstype = {
  UNSUPPORTED: 0,
  PROC: 1,
  SYSFS: 2,
  DEVTMPFS: 3,
  BINFMT_MISC: 4,
  TMPFS: 5,
  DEVPTS: 6,
  SIMFS: 7,
  PSTORE: 8,
  SECURITYFS: 9,
  FUSECTL: 10,
  DEBUGFS: 11,
  CGROUP: 12,
  AUFS: 13,
  MQUEUE: 14,
  FUSE: 15,
  AUTO: 16,
  OVERLAYFS: 17,
  AUTOFS: 18,
  TRACEFS: 19,
  CGROUP2: 23,
} as const;

/** `mountpoints-%u.img`: one mount of a mount namespace. */
export const mntEntry = message('mnt_entry', () => ({
  fstype: uint32(1),
  mnt_id: uint32(2),
  root_dev: uint32(3, 'dev'),
  parent_mnt_id: uint32(4),
  flags: uint32(5, 'hex'),
  root: text(6),
  mountpoint: text(7),
  source: text(8),
  options: text(9),
  shared_id: optional(uint32(10)),
  master_id: optional(uint32(11)),
  with_plugin: optional(bool(12)),
  ext_mount: optional(bool(13)),
  fsname: optional(text(14)),
  internal_sharing: optional(bool(15)),
  deleted: optional(bool(16)),
  sb_flags: optional(uint32(17, 'hex')),
  ext_key: optional(text(18)),
}));
export type MntEntry = TypeOf<typeof mntEntry>;

/** `autofs-%u.img`: parameters of an autofs mount. */
export const autofsEntry = message('autofs_entry', () => ({
  fd: int32(1),
  pgrp: int32(2),
  timeout: int32(3),
  minproto: int32(4),
  maxproto: int32(5),
  mode: int32(6),
  uid: optional(int32(7)),
  gid: optional(int32(8)),
  read_fd: optional(int32(9)),
}));
export type AutofsEntry = TypeOf<typeof autofsEntry>;

/** `binfmt-misc.img`: one registered binary format. */
export const binfmtMiscEntry = message('binfmt_misc_entry', () => ({
  name: text(1),
  enabled: bool(2),
  interpreter: text(3),
  flags: optional(text(4)),
  extension: optional(text(5)),
  magic: optional(text(6)),
  mask: optional(text(7)),
  offset: optional(int32(8)),
}));
export type BinfmtMiscEntry = TypeOf<typeof binfmtMiscEntry>;
