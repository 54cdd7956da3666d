/** The part of netlink that probes need: requests with attributes, and their answers (include/uapi/linux/netlink.h). */
import { AF, MSG, SOCK } from '../../kernel/constants/sockets.ts';
import { NLM_F, NLMSG } from '../../kernel/netlink/message.ts';
import { arena, arenaAddress, arenaView, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';

const HEADER = 16;

export const NLA_F_NESTED = 0x8000;

/** The answer to requests. `errno` is positive; 0 if no request was refused. */
export interface Answer {
  readonly errno: number;
  readonly messages: readonly { readonly type: number; readonly payload: Uint8Array }[];
}

/** A netlink socket of our own network namespace. @throws SyscallError */
export function openNetlink(protocol: number): Fd {
  return new Fd(syscall('socket', AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, protocol));
}

/** Encodes one message. */
export function message(type: number, flags: number, ...body: readonly Uint8Array[]): Uint8Array {
  const payload = Buffer.concat(body);
  const out = new Uint8Array((HEADER + payload.length + 3) & ~3);
  const view = new DataView(out.buffer);
  view.setUint32(0, HEADER + payload.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags | NLM_F.REQUEST, true);
  out.set(payload, HEADER);
  return out;
}

/**
 * Encodes an attribute, padded to four bytes. Its value is the concatenation of `content`; attributes may be nested.
 */
export function attribute(type: number, ...content: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.concat(content);
  const out = new Uint8Array((4 + bytes.length + 3) & ~3);
  const view = new DataView(out.buffer);
  view.setUint16(0, 4 + bytes.length, true);
  view.setUint16(2, type, true);
  out.set(bytes, 4);
  return out;
}

/** A 32-bit number in the machine's byte order. */
export function u32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** A 32-bit number in network byte order, as nf_tables takes it. */
export function be32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** A NUL-terminated name. */
export function text(value: string): Uint8Array {
  return Buffer.from(`${value}\0`, 'latin1');
}

/** Sends messages in one datagram and reads all answers; the kernel has answered by the time send(2) returns. */
export function converse(fd: number, ...messages: readonly Uint8Array[]): Answer {
  const packet = new Uint8Array(Buffer.concat(messages));
  syscall('sendto', fd, packet, packet.byteLength, 0, 0, 0);
  let errno = 0;
  const found: { type: number; payload: Uint8Array }[] = [];
  for (;;) {
    const got = trySyscall('recvfrom', fd, arenaAddress, arena.length, MSG.DONTWAIT, 0, 0);
    if (got === -ERRNO.EAGAIN) return { errno, messages: found };
    if (got < 0) throw new SyscallError('recvfrom', -got);
    for (const one of split(got)) {
      const failed = one.type === NLMSG.ERROR || one.type === NLMSG.DONE ? resultOf(one.payload) : 0;
      if (failed < 0) errno ||= -failed;
      else if (one.type !== NLMSG.ERROR && one.type !== NLMSG.DONE) found.push(one);
    }
  }
}

function resultOf(payload: Uint8Array): number {
  return payload.length < 4 ? 0 : new DataView(payload.buffer, payload.byteOffset).getInt32(0, true);
}

function split(length: number): { type: number; payload: Uint8Array }[] {
  const found: { type: number; payload: Uint8Array }[] = [];
  for (let at = 0; at + HEADER <= length; ) {
    const size = arenaView.getUint32(at, true);
    if (size < HEADER) break;
    found.push({ type: arenaView.getUint16(at + 4, true), payload: arena.slice(at + HEADER, at + size) });
    at += (size + 3) & ~3;
  }
  return found;
}

/** The types of the attributes that follow `skip` bytes of a message. */
export function attributeTypes(payload: Uint8Array, skip: number): number[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const types: number[] = [];
  for (let at = skip; at + 4 <= payload.length; ) {
    const size = view.getUint16(at, true);
    if (size < 4) break;
    types.push(view.getUint16(at + 2, true) & 0x3fff);
    at += (size + 3) & ~3;
  }
  return types;
}
