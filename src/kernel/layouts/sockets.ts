/** Messages of sockets, and what they carry besides bytes (include/linux/socket.h, unix(7)). */
import { AF, IFNAMSIZ, SCM, SCM_MAX_FD, SO, SOL_SOCKET } from '../constants/sockets.ts';
import { bytes, i32, struct, u16, u32, u64, type ValueOf } from './struct.ts';

/** `struct msghdr`, of sendmsg and recvmsg. */
export const Msghdr = struct({
  name: u64,
  nameLength: u32,
  iov: u64,
  iovLength: u64,
  control: u64,
  controlLength: u64,
  flags: u32,
});
export type Msghdr = ValueOf<typeof Msghdr>;

/** `struct ucred`: a process, its user and its group. */
export const Ucred = struct({ pid: i32, uid: u32, gid: u32 });
export type Ucred = ValueOf<typeof Ucred>;

/** `struct sockaddr_nl`: a port id, and a bit for each of the first groups. */
export const SockaddrNl = struct({ family: u16, pad: u16, port: u32, groups: u32 });

/** `struct packet_mreq`, of PACKET_ADD_MEMBERSHIP, with room for the longest address. */
export const PacketMreq = struct({ device: i32, type: u16, length: u16, address: bytes(32) });

/** `struct tpacket_req3`, of PACKET_RX_RING and TX_RING; older versions of them read the beginning. */
export const TpacketReq = struct({
  blockSize: u32,
  blocks: u32,
  frameSize: u32,
  frames: u32,
  retireTimeout: u32,
  privateSize: u32,
  features: u32,
});

/** `struct linger`, of SO_LINGER: whether close(2) waits, and how many seconds. */
export const Linger = struct({ on: i32, seconds: i32 });

/** `struct sock_txtime`, of SO_TXTIME. */
export const SockTxtime = struct({ clock: i32, flags: u32 });

/** `struct ifreq`: the name of a network device, and a union. */
export const Ifreq = struct({ name: bytes(IFNAMSIZ), value: bytes(24) });

/** `struct cmsghdr`. */
export const Cmsghdr = struct({ length: u64, level: i32, type: i32 });

/** Bytes of control data for a number of descriptors. */
export function rightsSpace(count: number): number {
  return align8(Cmsghdr.size + 4 * count);
}

/** Control messages that tell when a message came have the numbers of the options that ask for them. */
const TIMES: readonly number[] = [
  ...[SO.TIMESTAMP, SO.TIMESTAMPNS, SO.TIMESTAMPING],
  ...[SO.TIMESTAMP_NEW, SO.TIMESTAMPNS_NEW, SO.TIMESTAMPING_NEW],
];

/** What control data tells. */
export interface Control {
  /** Descriptors of all SCM_RIGHTS messages. */
  readonly rights: number[];
  /** Of an SCM_CREDENTIALS message. */
  readonly sender: Ucred | undefined;
  /** Of an SCM_PIDFD message: a descriptor for the sender. */
  readonly pidfd: number | undefined;
  /** The type of a message that is something else, and not the time at which it came. */
  readonly unknown: number | undefined;
}

/**
 * Control data for sendmsg(2); empty if there is nothing to tell.
 * @throws RangeError for more than {@link SCM_MAX_FD} descriptors
 */
export function encodeControl(rights: readonly number[], sender?: Ucred): Uint8Array {
  if (rights.length > SCM_MAX_FD) throw new RangeError(`${rights.length} descriptors in one message`);
  const parts: Uint8Array[] = [];
  if (sender) parts.push(controlMessage(SCM.CREDENTIALS, Ucred.encode(sender)));
  if (rights.length > 0) parts.push(controlMessage(SCM.RIGHTS, new Uint8Array(new Int32Array(rights).buffer)));
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function controlMessage(type: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(align8(Cmsghdr.size + data.length));
  Cmsghdr.encodeInto(out, 0, { length: BigInt(Cmsghdr.size + data.length), level: SOL_SOCKET, type });
  out.set(data, Cmsghdr.size);
  return out;
}

/** A control message. */
export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  /** A view. */
  readonly data: Uint8Array;
}

/** The messages of received control data (cut to the length recvmsg answered); a torn message ends it. */
export function* controlMessages(control: Uint8Array): Iterable<ControlMessage> {
  for (let at = 0; at + Cmsghdr.size <= control.length; ) {
    const { length, level, type } = Cmsghdr.decode(control, at);
    const data = at + Cmsghdr.size;
    const end = at + Number(length);
    if (end < data || end > control.length) break;
    yield { level, type, data: control.subarray(data, end) };
    at = align8(end);
  }
}

/** Reads the control data of a message of a unix socket. */
export function decodeControl(control: Uint8Array): Control {
  const rights: number[] = [];
  let sender: Ucred | undefined;
  let unknown: number | undefined;
  let pidfd: number | undefined;
  for (const { level, type, data } of controlMessages(control)) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (level === SOL_SOCKET && type === SCM.RIGHTS) {
      for (let at = 0; at + 4 <= data.length; at += 4) rights.push(view.getInt32(at, true));
    } else if (level === SOL_SOCKET && type === SCM.CREDENTIALS && data.length >= Ucred.size) {
      sender = Ucred.decode(data);
    } else if (level === SOL_SOCKET && type === SCM.PIDFD && data.length >= 4) {
      pidfd = view.getInt32(0, true);
    } else if (level !== SOL_SOCKET || !TIMES.includes(type)) {
      unknown = type;
    }
  }
  return { rights, sender, pidfd, unknown };
}

function align8(value: number): number {
  return (value + 7) & ~7;
}

/** `struct sockaddr_un` for a name as the kernel keeps it: a path, or NUL and an abstract name. */
export function encodeUnixAddress(name: Uint8Array): Uint8Array {
  const address = new Uint8Array(2 + name.length);
  new DataView(address.buffer).setUint16(0, AF.UNIX, true);
  address.set(name, 2);
  return address;
}
