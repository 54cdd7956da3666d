/** Makes packet sockets again. They see no packet before their filter and their rings are in place. */

import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { encodeText } from '../../../base/text.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import { dictionary, type FormType, object, optional, signed, text, whole } from '../../../images/form.ts';
import type { PacketRing, PacketSockEntry } from '../../../images/schema/sockets.ts';
import { AF, PACKET, SO, SOCK, SOL_PACKET } from '../../../kernel/constants/sockets.ts';
import { PacketMreq, TpacketReq } from '../../../kernel/layouts/sockets.ts';
import { setNumber, setOption } from '../../../kernel/sockets.ts';
import { Fd, syscall } from '../../../kernel/syscall.ts';
import { deviceIndex, deviceName } from '../../../network/devices.ts';
import { restoreForgotten, restoreOptions } from '../../../network/socket-options.ts';
import { notedFile } from '../../../support/file-notes.ts';
import { setFlagsAndOwner } from '../../../support/fown.ts';

export const NOTES = 'packet';

const noteForm = object({
  /** See network/socket-options.ts. */
  options: optional(dictionary(signed)),
  /** The options of {@link OPTIONS} that are on. */
  own: optional(dictionary(signed)),
  /** Bytes of the header of virtio that packets begin with, if it is not the usual one. */
  header: optional(whole),
  /** The names of the devices, by the index they had. */
  devices: optional(dictionary(text)),
});

/** State of a packet socket that CRIU's images have no place for. */
export type PacketNote = FormType<typeof noteForm>;

/** Options CRIU's images have no place for, all off in a new socket: name in the notes, and number. */
export const OPTIONS = {
  sendHasOffset: PACKET.TX_HAS_OFF,
  qdiscBypass: PACKET.QDISC_BYPASS,
  ignoreOutgoing: PACKET.IGNORE_OUTGOING,
} as const;

/** `struct sockaddr_ll`; of a socket of SOCK_PACKET `struct sockaddr` with the name of a device. */
const ADDRESS = 20;
const OLD_ADDRESS = 16;
const NAME_AT = 2;
const LONGEST_NAME = 14;

/** Makes a socket, in its final state. @throws StasisError (conflict) if its device is not there */
export function makePacketSocket(entry: PacketSockEntry, context: RestoreContext): Fd {
  const note = notedFile(context, NOTES, entry.id, noteForm) ?? {};
  const isOld = entry.type === SOCK.PACKET;
  // A socket without a protocol sees nothing until it is bound; one of the old kind is told its protocol only here.
  const protocol = isOld ? entry.protocol : 0;
  const fd = new Fd(syscall('socket', AF.PACKET, entry.type | SOCK.CLOEXEC, protocol));
  try {
    const local = fd.number;
    const indexOf = (saved: number): number => deviceOf(local, saved, note, entry.id);
    const device = indexOf(entry.ifindex);
    restoreOptions(local, entry.opts);
    if (entry.opts.reuseaddr) setNumber(local, SO.REUSEADDR, 1);
    if (!isOld) setPacketOptions(local, entry, note, indexOf);
    bind(local, entry, device);
    if (!isOld && entry.fanout !== undefined && entry.fanout !== NO_FANOUT) {
      setNumber(local, PACKET.FANOUT, entry.fanout, SOL_PACKET);
    }
    restoreForgotten(local, note.options);
    setFlagsAndOwner(local, entry.flags, entry.fown, context);
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    throw error;
  }
}

const NO_FANOUT = 0xffff_ffff;

/** The index that a device has now: by its name, or the same one if CRIU made the images. */
function deviceOf(local: LocalFd, saved: number, { devices }: PacketNote, id: number): number {
  if (saved === 0) return 0;
  const name = devices?.[String(saved)];
  const index =
    name === undefined ? (deviceName(local, saved) === undefined ? undefined : saved) : deviceIndex(local, name);
  if (index !== undefined) return index;
  const what = name === undefined ? `with the index ${saved}` : name;
  throw new StasisError({
    kind: 'conflict',
    code: 'SOCKET_DEVICE_MISSING',
    resource: `packet socket ${id}`,
    reason: `it captured from the network device ${what}, which is not there`,
    remedy: 'make the device, or give one this name (ip link set dev DEVICE name NAME)',
  });
}

function setPacketOptions(
  local: LocalFd,
  entry: PacketSockEntry,
  note: PacketNote,
  indexOf: (saved: number) => number,
): void {
  const set = (name: number, value: number): void => setNumber(local, name, value, SOL_PACKET);
  set(PACKET.VERSION, entry.version);
  set(PACKET.RESERVE, entry.reserve);
  set(PACKET.TIMESTAMP, entry.timestamp);
  set(PACKET.COPY_THRESH, entry.copy_thresh);
  if (entry.aux_data) set(PACKET.AUXDATA, 1);
  if (entry.orig_dev) set(PACKET.ORIGDEV, 1);
  if (note.header !== undefined) set(PACKET.VNET_HDR_SZ, note.header);
  else if (entry.vnet_hdr) set(PACKET.VNET_HDR, 1);
  if (entry.loss) set(PACKET.LOSS, 1);
  for (const [key, name] of Object.entries(OPTIONS)) if (note.own?.[key]) set(name, 1);
  for (const { index, type, addr } of entry.mclist) addMembership(local, indexOf(index), type, addr);
  if (entry.rx_ring) makeRing(local, PACKET.RX_RING, entry.rx_ring);
  if (entry.tx_ring) makeRing(local, PACKET.TX_RING, entry.tx_ring);
}

function addMembership(local: LocalFd, device: number, type: number, address: Uint8Array): void {
  const longest = address.subarray(0, PacketMreq.size - PacketMreq.offsets.address);
  const request = PacketMreq.encode({ device, type, length: address.length, address: longest });
  setOption(local, PACKET.ADD_MEMBERSHIP, request, SOL_PACKET);
}

function makeRing(local: LocalFd, name: number, ring: PacketRing): void {
  const request = TpacketReq.encode({
    blockSize: ring.block_size,
    blocks: ring.block_nr,
    frameSize: ring.frame_size,
    frames: ring.frame_nr,
    retireTimeout: ring.retire_tmo,
    privateSize: ring.sizeof_priv,
    features: ring.features,
  });
  setOption(local, name, request, SOL_PACKET);
}

function bind(local: LocalFd, { type, protocol, ifindex }: PacketSockEntry, device: number): void {
  if (type === SOCK.PACKET) {
    const name = ifindex === 0 ? undefined : deviceName(local, device);
    if (name === undefined) return;
    const address = new Uint8Array(OLD_ADDRESS);
    new DataView(address.buffer).setUint16(0, AF.PACKET, true);
    address.set(encodeText(name).subarray(0, LONGEST_NAME - 1), NAME_AT);
    syscall('bind', local, address, address.length);
    return;
  }
  if (protocol === 0 && device === 0) return;
  const address = new Uint8Array(ADDRESS);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF.PACKET, true);
  view.setUint16(2, protocol, true);
  view.setInt32(4, device, true);
  syscall('bind', local, address, address.length);
}
