/** Descriptors, the open files behind them, and what belongs to a file by path. */

import {
  bool,
  enumerated,
  int32,
  int64,
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
import { bpfmapFileEntry } from './bpf.ts';
import { fownEntry, timeval } from './common.ts';
import {
  eventfdFileEntry,
  eventpollFileEntry,
  fanotifyFileEntry,
  inotifyFileEntry,
  signalfdEntry,
  timerfdEntry,
} from './events.ts';
import { nsFileEntry } from './namespaces.ts';
import { tunfileEntry } from './network.ts';
import { inetSkEntry, netlinkSkEntry, packetSockEntry, unixSkEntry } from './sockets.ts';
import { ttyFileEntry } from './tty.ts';

/** Types of open files; the last two are never in an image. */
export const FdTypes = {
  UND: 0,
  REG: 1,
  PIPE: 2,
  FIFO: 3,
  INETSK: 4,
  UNIXSK: 5,
  EVENTFD: 6,
  EVENTPOLL: 7,
  INOTIFY: 8,
  SIGNALFD: 9,
  PACKETSK: 10,
  TTY: 11,
  FANOTIFY: 12,
  NETLINKSK: 13,
  NS: 14,
  TUNF: 15,
  EXT: 16,
  TIMERFD: 17,
  MEMFD: 18,
  BPFMAP: 19,
  PIDFD: 20,
  CTL_TTY: 65534,
  AUTOFS_PIPE: 65535,
} as const;

/** `fdinfo-%u.img`: one descriptor and the open file it refers to. */
export const fdinfoEntry = message('fdinfo_entry', () => ({
  id: uint32(1),
  flags: uint32(2),
  type: enumerated(3, FdTypes),
  fd: uint32(4),
  xattr_security_selinux: optional(text(5)),
}));
export type FdinfoEntry = TypeOf<typeof fdinfoEntry>;

/** `files.img`: one open file; which field is there depends on its type. */
export const fileEntry = message('file_entry', () => ({
  type: enumerated(1, FdTypes),
  id: uint32(2),
  reg: optional(nested(3, regFileEntry)),
  isk: optional(nested(4, inetSkEntry)),
  nsf: optional(nested(5, nsFileEntry)),
  psk: optional(nested(6, packetSockEntry)),
  nlsk: optional(nested(7, netlinkSkEntry)),
  efd: optional(nested(8, eventfdFileEntry)),
  epfd: optional(nested(9, eventpollFileEntry)),
  sgfd: optional(nested(10, signalfdEntry)),
  tunf: optional(nested(11, tunfileEntry)),
  tfd: optional(nested(12, timerfdEntry)),
  ify: optional(nested(13, inotifyFileEntry)),
  ffy: optional(nested(14, fanotifyFileEntry)),
  ext: optional(nested(15, extFileEntry)),
  usk: optional(nested(16, unixSkEntry)),
  fifo: optional(nested(17, fifoEntry)),
  pipe: optional(nested(18, pipeEntry)),
  tty: optional(nested(19, ttyFileEntry)),
  memfd: optional(nested(20, memfdFileEntry)),
  bpf: optional(nested(21, bpfmapFileEntry)),
  pidfd: optional(nested(22, pidfdEntry)),
}));
export type FileEntry = TypeOf<typeof fileEntry>;

/** A path that is open: regular file, directory, device node; also working directories and mapped files. */
export const regFileEntry = message('reg_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'rfile.flags'),
  pos: uint64(3),
  fown: nested(5, fownEntry),
  name: text(6),
  mnt_id: optional(sint32(7), -1),
  size: optional(uint64(8)),
  ext: optional(bool(9)),
  mode: optional(uint32(10)),
  build_id: repeated(uint32(11)),
  checksum: optional(uint32(12)),
  checksum_config: optional(uint32(13)),
  checksum_parameter: optional(uint32(14)),
}));
export type RegFileEntry = TypeOf<typeof regFileEntry>;

/** A file a plugin takes care of. */
export const extFileEntry = message('ext_file_entry', () => ({
  id: uint32(1),
  fown: nested(5, fownEntry),
}));
export type ExtFileEntry = TypeOf<typeof extFileEntry>;

/** `fs-%u.img`: working directory, root and umask. */
export const fsEntry = message('fs_entry', () => ({
  cwd_id: uint32(1),
  root_id: uint32(2),
  umask: optional(uint32(3)),
}));
export type FsEntry = TypeOf<typeof fsEntry>;

/** A named pipe; its path is the regular file `regf_id`. */
export const fifoEntry = message('fifo_entry', () => ({
  id: uint32(1),
  pipe_id: uint32(2),
  regf_id: optional(uint32(3)),
}));
export type FifoEntry = TypeOf<typeof fifoEntry>;

/** One end of a pipe; both ends have the same `pipe_id`. */
export const pipeEntry = message('pipe_entry', () => ({
  id: uint32(1),
  pipe_id: uint32(2),
  flags: uint32(3, 'hex'),
  fown: nested(4, fownEntry),
}));
export type PipeEntry = TypeOf<typeof pipeEntry>;

/** `pipes-data.img`, `fifo-data.img`: so many bytes of the pipe's content follow. */
export const pipeDataEntry = message('pipe_data_entry', () => ({
  pipe_id: uint32(1),
  bytes: uint32(2),
  size: optional(uint32(3)),
}));
export type PipeDataEntry = TypeOf<typeof pipeDataEntry>;

/** A descriptor of a memfd. */
export const memfdFileEntry = message('memfd_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'rfile.flags'),
  pos: uint64(3),
  fown: nested(4, fownEntry),
  inode_id: uint32(5),
}));
export type MemfdFileEntry = TypeOf<typeof memfdFileEntry>;

/** `memfd.img`: a memfd itself; its content is the shared segment `shmid`. */
export const memfdInodeEntry = message('memfd_inode_entry', () => ({
  name: text(1),
  uid: uint32(2),
  gid: uint32(3),
  size: uint64(4),
  shmid: uint32(5),
  seals: uint32(6, 'seals.flags'),
  inode_id: uint64(7),
  hugetlb_flag: optional(uint32(8)),
  mode: optional(uint32(9)),
}));
export type MemfdInodeEntry = TypeOf<typeof memfdInodeEntry>;

/** `ghost-file-%x.img`: a deleted file. Its content follows, whole or in chunks. */
export const ghostFileEntry = message('ghost_file_entry', () => ({
  uid: uint32(1),
  gid: uint32(2),
  mode: uint32(3),
  dev: optional(uint32(4, 'dev')),
  ino: optional(uint64(5)),
  rdev: optional(uint32(6, 'odev')),
  atim: optional(nested(7, timeval)),
  mtim: optional(nested(8, timeval)),
  chunks: optional(bool(9)),
  size: optional(uint64(10)),
  symlnk_target: optional(text(11)),
}));
export type GhostFileEntry = TypeOf<typeof ghostFileEntry>;

/** A stretch of a deleted file with holes; its bytes follow. */
export const ghostChunkEntry = message('ghost_chunk_entry', () => ({
  len: uint64(1),
  off: uint64(2),
}));
export type GhostChunkEntry = TypeOf<typeof ghostChunkEntry>;

/** How a file that lost its path is found again. */
export const RemapType = {
  LINKED: 0,
  GHOST: 1,
  PROCFS: 2,
} as const;

/** `remap-fpath.img`: an open file and what stands in for its path. */
export const remapFilePathEntry = message('remap_file_path_entry', () => ({
  orig_id: uint32(1),
  remap_id: uint32(2),
  remap_type: optional(enumerated(3, RemapType)),
}));
export type RemapFilePathEntry = TypeOf<typeof remapFilePathEntry>;

/** `filelocks.img`: a lock or lease. */
export const fileLockEntry = message('file_lock_entry', () => ({
  flag: uint32(1),
  type: uint32(2),
  pid: int32(3),
  fd: int32(4),
  start: int64(5),
  len: int64(6),
}));
export type FileLockEntry = TypeOf<typeof fileLockEntry>;

/** A pidfd; `ino` tells processes apart. */
export const pidfdEntry = message('pidfd_entry', () => ({
  id: uint32(1),
  ino: uint32(2),
  flags: uint32(3),
  nspid: int32(4),
  fown: nested(5, fownEntry),
}));
export type PidfdEntry = TypeOf<typeof pidfdEntry>;
