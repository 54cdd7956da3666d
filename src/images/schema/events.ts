/** Files without a path that report events. */

import { enumerated, message, nested, optional, repeated, type TypeOf, text, uint32, uint64 } from '../message.ts';
import { fownEntry } from './common.ts';

/** An eventfd. */
export const eventfdFileEntry = message('eventfd_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2),
  fown: nested(3, fownEntry),
  counter: uint64(4),
}));
export type EventfdFileEntry = TypeOf<typeof eventfdFileEntry>;

/** A descriptor an epoll instance watches; dev, inode and pos tell duplicates apart. */
export const eventpollTfdEntry = message('eventpoll_tfd_entry', () => ({
  id: uint32(1),
  tfd: uint32(2),
  events: uint32(3),
  data: uint64(4),
  dev: optional(uint32(5)),
  inode: optional(uint64(6)),
  pos: optional(uint64(7)),
}));
export type EventpollTfdEntry = TypeOf<typeof eventpollTfdEntry>;

/** An epoll instance. */
export const eventpollFileEntry = message('eventpoll_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2),
  fown: nested(3, fownEntry),
  tfd: repeated(nested(4, eventpollTfdEntry)),
}));
export type EventpollFileEntry = TypeOf<typeof eventpollFileEntry>;

/** A signalfd. */
export const signalfdEntry = message('signalfd_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'hex'),
  fown: nested(3, fownEntry),
  sigmask: uint64(4, 'hex'),
}));
export type SignalfdEntry = TypeOf<typeof signalfdEntry>;

/** A timerfd: the time that is left, its interval, and the expirations not read yet. */
export const timerfdEntry = message('timerfd_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'hex'),
  fown: nested(3, fownEntry),
  clockid: uint32(4),
  ticks: uint64(5),
  settime_flags: uint32(6, 'hex'),
  vsec: uint64(7),
  vnsec: uint64(8),
  isec: uint64(9),
  insec: uint64(10),
}));
export type TimerfdEntry = TypeOf<typeof timerfdEntry>;

/** What a fanotify mark is on. */
export const MarkType = {
  INODE: 1,
  MOUNT: 2,
} as const;

/** One watch of an inotify instance. */
export const inotifyWdEntry = message('inotify_wd_entry', () => ({
  id: uint32(1),
  i_ino: uint64(2),
  mask: uint32(3, 'hex'),
  ignored_mask: uint32(4, 'hex'),
  s_dev: uint32(5, 'dev'),
  wd: uint32(6),
  f_handle: nested(7, fhEntry),
}));
export type InotifyWdEntry = TypeOf<typeof inotifyWdEntry>;

/** An inotify instance. */
export const inotifyFileEntry = message('inotify_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'hex'),
  fown: nested(4, fownEntry),
  wd: repeated(nested(5, inotifyWdEntry)),
}));
export type InotifyFileEntry = TypeOf<typeof inotifyFileEntry>;

/** A mark on one inode. */
export const fanotifyInodeMarkEntry = message('fanotify_inode_mark_entry', () => ({
  i_ino: uint64(1),
  f_handle: nested(2, fhEntry),
}));
export type FanotifyInodeMarkEntry = TypeOf<typeof fanotifyInodeMarkEntry>;

/** A mark on a mount. */
export const fanotifyMountMarkEntry = message('fanotify_mount_mark_entry', () => ({
  mnt_id: uint32(1),
  path: optional(text(2)),
}));
export type FanotifyMountMarkEntry = TypeOf<typeof fanotifyMountMarkEntry>;

/** One mark of a fanotify group. */
export const fanotifyMarkEntry = message('fanotify_mark_entry', () => ({
  id: uint32(1),
  type: enumerated(2, MarkType),
  mflags: uint32(3, 'hex'),
  mask: uint32(4, 'hex'),
  ignored_mask: uint32(5, 'hex'),
  s_dev: uint32(6, 'dev'),
  ie: optional(nested(7, fanotifyInodeMarkEntry)),
  me: optional(nested(8, fanotifyMountMarkEntry)),
}));
export type FanotifyMarkEntry = TypeOf<typeof fanotifyMarkEntry>;

/** A fanotify group. */
export const fanotifyFileEntry = message('fanotify_file_entry', () => ({
  id: uint32(1),
  flags: uint32(2, 'hex'),
  fown: nested(3, fownEntry),
  faflags: uint32(4, 'hex'),
  evflags: uint32(5, 'hex'),
  mark: repeated(nested(6, fanotifyMarkEntry)),
}));
export type FanotifyFileEntry = TypeOf<typeof fanotifyFileEntry>;

/** A file handle, in words, and perhaps the path it was found under. */
export const fhEntry = message('fh_entry', () => ({
  bytes: uint32(1),
  type: uint32(2),
  handle: repeated(uint64(3)),
  path: optional(text(4)),
  mnt_id: optional(uint32(5)),
}));
export type FhEntry = TypeOf<typeof fhEntry>;

/** `irmap-cache`: the path of an inode, found during an earlier pre-dump. */
export const irmapCacheEntry = message('irmap_cache_entry', () => ({
  dev: uint32(1, 'odev'),
  inode: uint64(2),
  path: text(3),
}));
export type IrmapCacheEntry = TypeOf<typeof irmapCacheEntry>;
