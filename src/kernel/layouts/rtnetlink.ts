/** Messages of rtnetlink (include/uapi/linux/rtnetlink.h, if_addr.h, fib_rules.h, neighbour.h, nexthop.h). */
import { i32, struct, u8, u16, u32 } from './struct.ts';

/** `struct ifinfomsg`. */
export const Ifinfomsg = struct({ family: u8, pad: u8, type: u16, index: i32, flags: u32, change: u32 });

/** `struct ifaddrmsg`. */
export const Ifaddrmsg = struct({ family: u8, prefix: u8, flags: u8, scope: u8, index: u32 });

/** `struct rtmsg`. */
export const Rtmsg = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
});

/** `struct fib_rule_hdr`. */
export const FibRuleHdr = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  table: u8,
  res1: u8,
  res2: u8,
  action: u8,
  flags: u32,
});

/** `struct ndmsg`. */
export const Ndmsg = struct({
  family: u8,
  pad1: u8,
  pad2: u16,
  index: i32,
  state: u16,
  flags: u8,
  type: u8,
});

/** `struct nhmsg`. */
export const Nhmsg = struct({ family: u8, scope: u8, protocol: u8, reserved: u8, flags: u32 });

/** `struct tcmsg`. */
export const Tcmsg = struct({ family: u8, pad1: u8, pad2: u16, index: i32, handle: u32, parent: u32, info: u32 });

/** `struct rtgenmsg`, filled up to four bytes. */
export const Rtgenmsg = struct({ family: u8, pad: u8, pad2: u16 });
