/** Tun and tap devices (include/uapi/linux/if_tun.h). */

/** ioctl(2) of a descriptor of /dev/net/tun. */
export const TUN_IOCTL = {
  TUNSETIFF: 0x4004_54ca,
  TUNSETPERSIST: 0x4004_54cb,
  TUNGETIFF: 0x8004_54d2,
  TUNGETSNDBUF: 0x8004_54d3,
  TUNSETSNDBUF: 0x4004_54d4,
  TUNSETQUEUE: 0x4004_54d9,
  TUNSETIFINDEX: 0x4004_54da,
  TUNGETFILTER: 0x8010_54db,
  TUNGETDEVNETNS: 0x0000_54e3,
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
