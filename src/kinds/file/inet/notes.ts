/** State of an IP socket that CRIU's images have no place for. */
import type { RestoreContext } from '../../../contract/contract.ts';
import {
  base64,
  dictionary,
  type FormType,
  flag,
  list,
  object,
  optional,
  signed,
  text,
  whole,
} from '../../../images/form.ts';
import { notedFile } from '../../../support/file-notes.ts';

const datagram = object({
  /** `struct sockaddr` of who sent it. */
  from: base64,
  /** The address it was sent to, where the kernel told. */
  to: optional(base64),
  /** TTL or hop limit, and TOS or traffic class, where the kernel told. */
  ttl: optional(whole),
  tos: optional(whole),
  /** The device it came in by, if the program is told, and that is not the loopback device. */
  device: optional(text),
});

/** What is noted of a datagram that waits; its bytes are in sk-queues.img. */
export type DatagramNote = FormType<typeof datagram>;

const membership = object({
  /** A multicast group: an address of 4 or 16 bytes. */
  group: base64,
  /** The device it was joined on. */
  device: text,
  /** Whether only the sources are heard, or all but them. */
  only: flag,
  sources: list(base64),
});

/** A multicast group that a socket has joined. */
export type MembershipNote = FormType<typeof membership>;

const note = object({
  /** See network/socket-options.ts. */
  options: optional(dictionary(signed)),
  /** See ip-options.ts. */
  ip: optional(dictionary(signed)),
  /** See header-options.ts. */
  headers: optional(dictionary(base64)),
  /** Options of the protocol that are numbers; each protocol has names of its own. */
  protocol: optional(dictionary(signed)),
  /** The congestion control of a TCP socket, where it is not the one new sockets get. */
  congestion: optional(text),
  /** An error waits to be reported. */
  error: optional(flag),
  /** The datagrams that wait, in their order. */
  datagrams: optional(list(datagram)),
  /** The multicast groups it has joined. */
  memberships: optional(list(membership)),
  /** It was bound to an address that was not one of the machine (IP_FREEBIND, which was taken back afterwards). */
  foreign: optional(flag),
  /** The user the socket belongs to, where it is not 0. */
  uid: optional(whole),
});

/** The note on a socket, as the file of notes has it. */
export type InetNote = FormType<typeof note>;

export const NOTES = 'inet';

/** The note of a socket; empty if there is none, or if CRIU made the images. @throws ImageError */
export function noteOf(context: RestoreContext, id: number): InetNote {
  return notedFile(context, NOTES, id, note) ?? {};
}
