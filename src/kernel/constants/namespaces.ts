/** Requests to namespace files, as in <linux/nsfs.h>: ioctl_nsfs(2). */
export const NS_GET = {
  USERNS: 0xb701,
  PARENT: 0xb702,
  NSTYPE: 0xb703,
  OWNER_UID: 0xb704,
} as const;
