/** Tun and tap devices (include/uapi/linux/if_tun.h). */
import { io, ior, iow } from './ioctl.ts';

/** ioctl(2) of a descriptor of /dev/net/tun. */
export const TUN_IOCTL = {
  TUNSETIFF: iow('T', 202, 4),
  TUNSETPERSIST: iow('T', 203, 4),
  TUNSETOWNER: iow('T', 204, 4),
  TUNSETGROUP: iow('T', 206, 4),
  TUNGETIFF: ior('T', 210, 4),
  TUNGETSNDBUF: ior('T', 211, 4),
  TUNSETSNDBUF: iow('T', 212, 4),
  TUNGETVNETHDRSZ: ior('T', 215, 4),
  TUNSETVNETHDRSZ: iow('T', 216, 4),
  TUNSETQUEUE: iow('T', 217, 4),
  TUNSETIFINDEX: iow('T', 218, 4),
  TUNGETFILTER: ior('T', 219, 16),
  TUNGETDEVNETNS: io('T', 227),
} as const;

/** Flags of a device and of a queue of it. */
export const IFF = {
  TUN: 0x0001,
  TAP: 0x0002,
  NAPI: 0x0010,
  NAPI_FRAGS: 0x0020,
  NO_CARRIER: 0x0040,
  MULTI_QUEUE: 0x0100,
  DETACH_QUEUE: 0x0400,
  PERSIST: 0x0800,
  NO_PI: 0x1000,
  VNET_HDR: 0x4000,
} as const;

/** The send buffer of a queue for which nobody has chosen one. */
export const TUN_SNDBUF = 0x7fff_ffff;

/** The size of the header before each packet (IFF_VNET_HDR) for which nobody has chosen one. */
export const TUN_VNET_HEADER = 10;
