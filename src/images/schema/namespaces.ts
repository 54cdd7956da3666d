/** Namespaces other than network and mount, with the System V objects in them. */

import { bool, message, nested, optional, repeated, type TypeOf, text, uint32, uint64 } from '../message.ts';

/** An open file of /proc/PID/ns. */
export const nsFileEntry = message('ns_file_entry', () => ({
  id: uint32(1),
  ns_id: uint32(2),
  ns_cflag: uint32(3),
  flags: uint32(4),
}));
export type NsFileEntry = TypeOf<typeof nsFileEntry>;

/** `utsns-%u.img`: host and domain name. */
export const utsnsEntry = message('utsns_entry', () => ({
  nodename: text(1),
  domainname: text(2),
}));
export type UtsnsEntry = TypeOf<typeof utsnsEntry>;

/** `pidns-%u.img`: an external PID namespace. */
export const pidnsEntry = message('pidns_entry', () => ({
  ext_key: optional(text(1)),
}));
export type PidnsEntry = TypeOf<typeof pidnsEntry>;

/** A line of a uid_map or gid_map. */
export const uidGidExtent = message('uid_gid_extent', () => ({
  first: uint32(1),
  lower_first: uint32(2),
  count: uint32(3),
}));
export type UidGidExtent = TypeOf<typeof uidGidExtent>;

/** `userns-%u.img`: the maps of a user namespace. */
export const usernsEntry = message('userns_entry', () => ({
  uid_map: repeated(nested(1, uidGidExtent)),
  gid_map: repeated(nested(2, uidGidExtent)),
}));
export type UsernsEntry = TypeOf<typeof usernsEntry>;

/** What all System V objects have. */
export const ipcDescEntry = message('ipc_desc_entry', () => ({
  key: uint32(1),
  uid: uint32(2),
  gid: uint32(3),
  cuid: uint32(4),
  cgid: uint32(5),
  mode: uint32(6),
  id: uint32(7),
}));
export type IpcDescEntry = TypeOf<typeof ipcDescEntry>;

/** `ipcns-var-%u.img`: the limits of an IPC namespace. */
export const ipcVarEntry = message('ipc_var_entry', () => ({
  sem_ctls: repeated(uint32(1)),
  msg_ctlmax: uint32(2),
  msg_ctlmnb: uint32(3),
  msg_ctlmni: uint32(4),
  auto_msgmni: uint32(5),
  shm_ctlmax: uint64(6),
  shm_ctlall: uint64(7),
  shm_ctlmni: uint32(8),
  shm_rmid_forced: uint32(9),
  mq_queues_max: uint32(10),
  mq_msg_max: uint32(11),
  mq_msgsize_max: uint32(12),
  mq_msg_default: optional(uint32(13)),
  mq_msgsize_default: optional(uint32(14)),
  msg_next_id: optional(uint32(15)),
  sem_next_id: optional(uint32(16)),
  shm_next_id: optional(uint32(17)),
}));
export type IpcVarEntry = TypeOf<typeof ipcVarEntry>;

/** `ipcns-shm-%u.img`: a segment; its content follows unless it is stored as pages. */
export const ipcShmEntry = message('ipc_shm_entry', () => ({
  desc: nested(1, ipcDescEntry),
  size: uint64(2),
  in_pagemaps: optional(bool(3)),
  hugetlb_flag: optional(uint32(4)),
}));
export type IpcShmEntry = TypeOf<typeof ipcShmEntry>;

/** A message in a queue; its bytes follow. */
export const ipcMsg = message('ipc_msg', () => ({
  mtype: uint64(1),
  msize: uint32(2),
}));
export type IpcMsg = TypeOf<typeof ipcMsg>;

/** `ipcns-msg-%u.img`: a message queue; its messages follow. */
export const ipcMsgEntry = message('ipc_msg_entry', () => ({
  desc: nested(1, ipcDescEntry),
  qbytes: uint32(2),
  qnum: uint32(3),
}));
export type IpcMsgEntry = TypeOf<typeof ipcMsgEntry>;

/** `ipcns-sem-%u.img`: a semaphore array; its values follow. */
export const ipcSemEntry = message('ipc_sem_entry', () => ({
  desc: nested(1, ipcDescEntry),
  nsems: uint32(2),
}));
export type IpcSemEntry = TypeOf<typeof ipcSemEntry>;
