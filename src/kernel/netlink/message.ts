/**
 * Netlink messages (include/uapi/linux/netlink.h), of which the datagrams of a netlink socket consist. Pure.
 *
 *     encodeMessage({ type: 20, flags: NLM_F.REQUEST | NLM_F.DUMP, sequence: 1, payload })
 *     decodeMessages(datagram)                            // [{ type, flags, sequence, payload }, …]
 */
import { StasisError } from '../../base/errors.ts';
import { struct, u16, u32 } from '../layouts/struct.ts';

/** Types all protocols have in common. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  /** The list changed while it was read, so it is not consistent. */
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
} as const;

/** `struct nlmsghdr`. */
const Header = struct({ length: u32, type: u16, flags: u16, sequence: u32, port: u32 });

/** A message, without the header fields that the kernel fills in. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** What follows the header: a struct of the protocol, then attributes. */
  readonly payload: Uint8Array;
}

/** The bytes of one message. */
export function encodeMessage({ type, flags, sequence, payload }: NetlinkMessage): Uint8Array {
  const length = Header.size + payload.length;
  const out = new Uint8Array(align4(length));
  Header.encodeInto(out, 0, { length, type, flags, sequence });
  out.set(payload, Header.size);
  return out;
}

/** The messages of one datagram; payloads are views of it. @throws StasisError (kernel) if it is cut off */
export function decodeMessages(datagram: Uint8Array): NetlinkMessage[] {
  const found: NetlinkMessage[] = [];
  for (let at = 0; at < datagram.length; ) {
    if (at + Header.size > datagram.length) throw damaged();
    const { length, type, flags, sequence } = Header.decode(datagram, at);
    if (length < Header.size || at + length > datagram.length) throw damaged();
    found.push({ type, flags, sequence, payload: datagram.subarray(at + Header.size, at + length) });
    at += align4(length);
  }
  return found;
}

/** The errno of an {@link NLMSG}.ERROR message, positive; 0 for an acknowledgement. */
export function errorOf({ payload }: NetlinkMessage): number {
  if (payload.length < 4) throw damaged();
  return 0 - new DataView(payload.buffer, payload.byteOffset).getInt32(0, true);
}

/** Messages and attributes begin at multiples of 4. */
export function align4(value: number): number {
  return (value + 3) & ~3;
}

function damaged(): StasisError {
  return new StasisError({ kind: 'kernel', resource: 'netlink', reason: 'a message is cut off' });
}
