/** System V objects (include/uapi/linux/ipc.h, shm.h, sem.h). */

export const IPC = { RMID: 0, SET: 1, STAT: 2, CREAT: 0o1000, EXCL: 0o2000, NOWAIT: 0o4000 } as const;
export const SHM_CTL = { LOCK: 11, UNLOCK: 12 } as const;
export const SEM_CTL = { GETPID: 11 } as const;
/** State of a segment in its mode, as /proc/sysvipc/shm shows it. */
export const SHM_MODE = { DEST: 0o1000, LOCKED: 0o2000 } as const;
