/**
 * Datagrams that wait in sockets of UDP: read without taking them, and put back.
 *
 * They are put back as packets from a raw socket. The route of a packet to an address of this machine leads through the
 * loopback device, and the packet keeps that route when it comes in there (`skb_valid_dst()` in ip_rcv_finish_core()):
 * no look is taken at where it comes from, so that its source may be any address. It has the mark of packets that pass
 * the network lock. Rules of a firewall may still drop it: so each is waited for, and what is missing is told.
 *
 * What the program would see to be different is left out, and told as well: a datagram of which it is told the device
 * it came in by, or of a link-local address, unless that device was the loopback device.
 */
import { fromBase64, toBase64 } from '../../../base/base64.ts';
import type { LocalFd } from '../../../base/brands.ts';
import type { DumpContext, RestoreContext } from '../../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../../contract/slots.ts';
import { Images } from '../../../images/kinds.ts';
import { IP, IPV6 } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO, LOCK_MARK, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { encodeDatagram } from '../../../kernel/layouts/ip-packet.ts';
import { controlMessages } from '../../../kernel/layouts/sockets.ts';
import { nap } from '../../../kernel/nap.ts';
import { getOptionIfAny, setNumber } from '../../../kernel/sockets.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { presentNetworkMark } from '../../../namespaces/inside.ts';
import { deviceName } from '../../../network/devices.ts';
import { endOf, fieldsOf, isAny, needsDevice, sockaddrOf } from '../../../network/end-fields.ts';
import { mappedOf } from '../../../network/inet-address.ts';
import { isOwnAddress } from '../../../network/own-address.ts';
import { peekDatagrams, type WaitingDatagram } from '../../../network/peek-datagrams.ts';
import { widen } from '../../../network/socket-options.ts';
import type { DatagramNote } from './notes.ts';
import type { MadeSocket } from './protocol.ts';

/** Size of an address and offset of the address in `struct in_pktinfo`; `struct in6_pktinfo` begins with it. */
const PKTINFO = { size: 12, address: 8, size6: 20, device6: 16 } as const;

const LOOPBACK = 'lo';

/** Bytes of memory that the receive queue takes, the queue of errors included; 0 if nothing waits. */
export function queueMemory(local: LocalFd): number {
  const memory = getOptionIfAny(local, SO.MEMINFO, 4);
  return memory && memory.length >= 4 ? new DataView(memory.buffer).getUint32(0, true) : 0;
}

/** Saves the datagrams that wait; `id` is the file's. No error may wait in the socket. Returns what is to be noted. */
export function captureQueue(local: LocalFd, id: number, context: DumpContext): DatagramNote[] {
  if (queueMemory(local) === 0) return [];
  return peekDatagrams(local).map((datagram) => {
    const { bytes } = datagram;
    context.append(Images.skQueues, { id_for: id, length: bytes.length, scm: [] }, bytes);
    return noteFor(datagram, local);
  });
}

function noteFor({ from, control }: WaitingDatagram, local: LocalFd): DatagramNote {
  let to: Uint8Array | undefined;
  let ttl: number | undefined;
  let tos: number | undefined;
  let device = 0;
  for (const { level, type, data } of controlMessages(control)) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (level === IPPROTO.IP && type === IP.PKTINFO && data.length >= PKTINFO.size) {
      device = view.getInt32(0, true);
      to ??= data.slice(PKTINFO.address, PKTINFO.size);
    } else if (level === IPPROTO.IPV6 && type === 50 && data.length >= PKTINFO.size6) {
      device = view.getInt32(PKTINFO.device6, true);
      to = data.slice(0, PKTINFO.device6);
    } else if (level === IPPROTO.IP && type === IP.TTL) ttl = view.getInt32(0, true);
    else if (level === IPPROTO.IP && type === IP.TOS) tos = data[0];
    else if (level === IPPROTO.IPV6 && type === IPV6.HOPLIMIT) ttl = view.getInt32(0, true);
    else if (level === IPPROTO.IPV6 && type === IPV6.TCLASS) tos = view.getInt32(0, true);
  }
  const name = device === 0 ? undefined : deviceName(local, device);
  return {
    from: toBase64(from),
    ...(to ? { to: toBase64(to) } : {}),
    ...(ttl === undefined ? {} : { ttl }),
    ...(tos === undefined ? {} : { tos }),
    ...(name === undefined || name === LOOPBACK ? {} : { device: name }),
  };
}

/** The bytes of the datagrams of all sockets, by the ID of the file. */
const QUEUES = new Slot((context: RestoreContext) => {
  const queues = new Map<number, Uint8Array[]>();
  for (const { message, payload } of context.images.readEntries(Images.skQueues)) {
    const queue = queues.get(message.id_for) ?? [];
    queue.push(payload ?? new Uint8Array());
    queues.set(message.id_for, queue);
  }
  return queues;
});

/** A datagram that is to be put back. */
interface Saved {
  readonly note: DatagramNote;
  readonly bytes: Uint8Array;
}

/** Puts the datagrams back that waited in a socket, and tells how many it could not. The socket has no filter yet. */
export function refill(socket: MadeSocket): void {
  const { entry, note, local, context } = socket;
  const notes = note.datagrams ?? [];
  if (notes.length === 0) return;
  const queue = QUEUES.of(context).get(entry.id) ?? [];
  const saved = notes.flatMap((note, i): Saved[] => (queue[i] ? [{ note, bytes: queue[i] }] : []));
  widen(local);
  keepPacketInfo(socket);
  const there = sharesAddress(socket) ? [] : saved.filter((datagram) => putBack(datagram, socket));
  const lost = notes.length - there.length;
  if (lost === 0) return;
  const what = lost === 1 ? '1 datagram' : `${lost} datagrams`;
  const reason = `${what} of ${notes.length} that waited in a socket of UDP could not be put back, and ${lost === 1 ? 'is' : 'are'} lost`;
  context.notice({ resource: `socket:[${entry.ino}]`, reason });
}

/** The kernel notes where a packet came in as it comes, and only if the socket asks for that. */
function keepPacketInfo({ entry, note, local }: MadeSocket): void {
  const wanted = entry.family === AF.INET ? entry.ip_opts?.pktinfo : note.ip?.pktinfo;
  if (wanted) setNumber(local, IP.PKTINFO, 1, IPPROTO.IP);
  if (entry.family === AF.INET6 && entry.ip_opts?.pktinfo) setNumber(local, IPV6.RECVPKTINFO, 1, IPPROTO.IPV6);
}

/** Whether another socket of the images has the same port, so that a packet may get there. */
function sharesAddress({ entry, context }: MadeSocket): boolean {
  for (const { isk } of context.fileEntries.values()) {
    if (!isk || isk.id === entry.id || isk.ns_id !== entry.ns_id) continue;
    if (isk.proto === entry.proto && isk.src_port === entry.src_port) return true;
  }
  return false;
}

/** Sends a datagram to the socket. Returns whether that was possible. @throws SyscallError */
function send({ note, bytes }: Saved, { entry, context }: MadeSocket): boolean {
  const { family, proto, opts } = entry;
  const from = fromBase64(note.from);
  const origin = endOf(family, from);
  if (from.length < 8 || needsDevice(family, origin) || note.device !== undefined) return false;
  if (opts.so_bound_dev && opts.so_bound_dev !== LOOPBACK) return false;
  const own = fieldsOf(entry, 'source');
  const noted = note.to === undefined ? undefined : fromBase64(note.to);
  const source = plain(new Uint8Array(new Uint32Array(origin.words).buffer));
  const bound = plain(new Uint8Array(new Uint32Array(own.words.slice(0, family === AF.INET ? 1 : 4)).buffer));
  const target = (noted && plain(noted)) ?? (isAny(own) ? loopback(source.length) : bound);
  if (target.length !== source.length || !isOwnAddress(target, context)) return false;
  const packet = encodeDatagram({
    protocol: proto,
    source: { address: source, port: origin.port },
    destination: { address: target, port: own.port },
    ttl: note.ttl ?? 64,
    tos: note.tos ?? 0,
    bytes,
  });
  if (!packet) return false;
  const to = addressOf(target);
  const is4 = target.length === 4;
  const sender = SENDERS.of(context, presentNetworkMark())[is4 ? 'inet' : 'inet6']();
  const sent = trySyscall('sendto', sender, packet, packet.length, 0, to, to.length);
  if (sent < 0 && !NOT_SENT.has(-sent)) throw new SyscallError('sendto', -sent, { resource: `socket:[${entry.ino}]` });
  return sent === packet.length;
}

/** What the packet filters, routes and devices of this machine answer. */
const NOT_SENT: ReadonlySet<number> = new Set([
  ERRNO.EPERM,
  ERRNO.EACCES,
  ERRNO.EINVAL,
  ERRNO.EMSGSIZE,
  ERRNO.ENOBUFS,
  ERRNO.ENETUNREACH,
  ERRNO.EHOSTUNREACH,
]);

/** An address of IPv4 if it is one that is mapped into IPv6. */
function plain(address: Uint8Array): Uint8Array {
  return mappedOf(address) ?? address;
}

function loopback(size: number): Uint8Array {
  return size === 4 ? new Uint8Array([127, 0, 0, 1]) : new Uint8Array(16).fill(1, 15);
}

/** `struct sockaddr` of an address, with a port that raw sockets take no notice of. */
function addressOf(address: Uint8Array, port = 0): Uint8Array {
  const words = [...new Uint32Array(address.slice().buffer)];
  return sockaddrOf(address.length === 4 ? AF.INET : AF.INET6, { port, words });
}

/** Raw sockets that send, made when first needed, for each network namespace that Stasis has been in. */
const SENDERS = new KeyedSlot((context: RestoreContext, _network: number) => {
  const made = new Map<number, LocalFd>();
  const sender = (family: number): LocalFd => {
    const known = made.get(family);
    if (known !== undefined) return known;
    const fd = new Fd(syscall('socket', family, SOCK.RAW | SOCK.CLOEXEC, IPPROTO.RAW));
    context.atEnd(() => fd[Symbol.dispose]());
    made.set(family, fd.number);
    setNumber(fd.number, SO.MARK, LOCK_MARK);
    if (family === AF.INET6) setNumber(fd.number, IPV6.HDRINCL, 1, IPPROTO.IPV6);
    widen(fd.number);
    return fd.number;
  };
  return { inet: () => sender(AF.INET), inet6: () => sender(AF.INET6) };
});

/** How often, and for how many nanoseconds each time, the kernel is waited for to deliver what was sent. */
const PATIENCE = 20;
const PAUSE = 1_000_000;

/**
 * Sends a datagram to the socket, and waits until it is there. A look into the queue would tell more than the memory
 * that it takes, but of an empty datagram the kernel would note that it has been looked at.
 */
function putBack(saved: Saved, socket: MadeSocket): boolean {
  const before = queueMemory(socket.local);
  if (!send(saved, socket)) return false;
  for (let turn = 0; turn < PATIENCE; turn++) {
    if (queueMemory(socket.local) > before) return true;
    nap(PAUSE);
  }
  return false;
}
