/** Structs of the calls for mounts and paths (include/uapi/linux/mount.h, openat2.h). */
import { struct, u64 } from './struct.ts';

/** `struct open_how` of openat2(2). */
export const OpenHow = struct({ flags: u64, mode: u64, resolve: u64 });

/** `struct mount_attr` of mount_setattr(2). */
export const MountAttr = struct({ set: u64, clear: u64, propagation: u64, usernsFd: u64 });
