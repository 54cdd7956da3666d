/** System V objects (include/uapi/asm-generic/ipcbuf.h, msgbuf.h, linux/sem.h). */
import { i16, i32, i64, struct, u16, u32, u64 } from './struct.ts';

/** `struct ipc64_perm`: what all objects have, at the beginning of each object's struct. */
export const Ipc64Perm = struct({
  key: i32,
  uid: u32,
  gid: u32,
  cuid: u32,
  cgid: u32,
  mode: u32,
  seq: u16,
  pad: u16,
  unused1: u64,
  unused2: u64,
});

/** `struct msqid64_ds`, of msgctl(2). */
export const Msqid64 = struct({
  perm: Ipc64Perm,
  stime: i64,
  rtime: i64,
  ctime: i64,
  cbytes: u64,
  qnum: u64,
  qbytes: u64,
  lspid: i32,
  lrpid: i32,
  unused1: u64,
  unused2: u64,
});

/** `struct mq_attr`, of mq_open(3) and mq_getattr(3). */
export const MqAttr = struct({
  flags: i64,
  maxmsg: i64,
  msgsize: i64,
  curmsgs: i64,
  reserved0: i64,
  reserved1: i64,
  reserved2: i64,
  reserved3: i64,
});

/** `struct sembuf`, of semop(2). */
export const Sembuf = struct({ num: u16, op: i16, flags: i16 });
