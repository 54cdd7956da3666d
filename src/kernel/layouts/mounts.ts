/** Structs of the calls for mounts and paths (include/uapi/linux/mount.h, openat2.h). */
import { bytes, struct, u32, u64 } from './struct.ts';

/** `struct open_how` of openat2(2). */
export const OpenHow = struct({ flags: u64, mode: u64, resolve: u64 });

/** `struct mount_attr` of mount_setattr(2). */
export const MountAttr = struct({ set: u64, clear: u64, propagation: u64, usernsFd: u64 });

/** `struct mnt_id_req` of statmount(2), as it was at first. */
export const MountRequest = struct({ size: u32, spare: u32, mount: u64, param: u64 });

/** `struct statmount` without the texts that follow it, to which the fields without a comment are offsets. */
export const Statmount = struct({
  size: u32,
  options: u32,
  /** What has been told. */
  mask: u64,
  others: bytes(136),
  uidCount: u32,
  uidMap: u32,
  gidCount: u32,
  gidMap: u32,
  spare: bytes(344),
});
