/**
 * Netlink messages (include/uapi/linux/netlink.h), of which the datagrams of a netlink socket consist. Pure.
 *
 *     encodeMessage({ type: 20, flags: NLM_F.REQUEST | NLM_F.DUMP, sequence: 1, payload })
 *     decodeMessages(datagram)                            // [{ type, flags, sequence, payload }, …]
 */
import { StasisError } from '../../base/errors.ts';
import { Nlmsghdr as Header } from '../layouts/netlink.ts';

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

/** The errno of an NLMSG_ERROR message, positive; 0 for an acknowledgement. */
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
