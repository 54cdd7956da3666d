/** Mounts: the flags of mount(2), and those of the newer calls (include/uapi/linux/mount.h). */

/** Flags of mount(2). */
export const MS = { BIND: 0x1000, REC: 0x4000, PRIVATE: 1 << 18, SHARED: 1 << 20 } as const;

export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;

/** Commands of fsconfig(2). */
export const FSCONFIG = { SET_FLAG: 0, SET_STRING: 1, CMD_CREATE: 6 } as const;

/** Flags of move_mount(2). */
export const MOVE_MOUNT = { SET_GROUP: 0x100 } as const;
