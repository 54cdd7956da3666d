/** Constants about namespaces. */
import { io } from './ioctl.ts';

/** Requests to namespace files, as in <linux/nsfs.h>: ioctl_nsfs(2). */
export const NS_GET = {
  USERNS: io(0xb7, 1),
  PARENT: io(0xb7, 2),
  NSTYPE: io(0xb7, 3),
  OWNER_UID: io(0xb7, 4),
} as const;
