/** System V objects (include/uapi/linux/ipc.h, shm.h, sem.h, msg.h) and POSIX message queues. */

export const IPC = { RMID: 0, SET: 1, STAT: 2, CREAT: 0o1000, EXCL: 0o2000, NOWAIT: 0o4000 } as const;
export const SHM_CTL = { LOCK: 11, UNLOCK: 12 } as const;
export const SEM_CTL = { GETPID: 11, GETALL: 13, SETALL: 17 } as const;
/** State of a segment in its mode, as /proc/sysvipc/shm shows it. */
export const SHM_MODE = { DEST: 0o1000, LOCKED: 0o2000 } as const;
/** A flag of semop(2): the operation is undone when the process ends. */
export const SEM_UNDO = 0x1000;
/** A flag of msgrcv(2): the message is copied and stays in the queue (since 3.8, CONFIG_CHECKPOINT_RESTORE). */
export const MSG_COPY = 0o40000;
/** The permission bits of a System V object's mode. */
export const IPC_PERMISSIONS = 0o777;
