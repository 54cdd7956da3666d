/** What a descriptor of /dev/net/tun is attached to (drivers/net/tun.c). */
import type { LocalFd } from '../../base/brands.ts';
import { decodeText } from '../../base/text.ts';
import { IFF, TUN_IOCTL } from '../../kernel/constants/tun.ts';
import { Ifreq } from '../../kernel/layouts/sockets.ts';
import { hasPacketInformation } from '../../kernel/netlink/tun-link.ts';
import { statusOf } from '../../kernel/statx.ts';
import {
  arena,
  arenaAddress,
  arenaPath,
  arenaView,
  ERRNO,
  Fd,
  SyscallError,
  trySyscall,
} from '../../kernel/syscall.ts';

/** A queue of a tun or tap device. */
export interface Queue {
  readonly name: string;
  /** IFF_*. */
  readonly flags: number;
}

/**
 * The queue that a descriptor is; undefined if it is attached to no device. Of IFF_NO_PI the answer says nothing, since
 * it has the value of IFF_NOFILTER, which TUNGETIFF sets for every queue without a filter ({@link settledFlags}).
 * @throws SyscallError
 */
export function queueOf(local: LocalFd): Queue | undefined {
  arena.fill(0, 0, Ifreq.size);
  const result = trySyscall('ioctl', local, TUN_IOCTL.TUNGETIFF, arenaAddress);
  if (result === -ERRNO.EBADFD) return undefined;
  if (result < 0) throw new SyscallError('ioctl', -result, { resource: '/dev/net/tun' });
  return {
    name: decodeText(arena.subarray(0, arena.indexOf(0))),
    flags: arenaView.getUint16(Ifreq.offsets.value, true),
  };
}

/** The flags of a queue of our network namespace, IFF_NO_PI as it is. @throws NetlinkError */
export function settledFlags({ name, flags }: Queue): number {
  const hasInformation = hasPacketInformation(name);
  if (hasInformation === undefined) return flags;
  return hasInformation ? flags & ~IFF.NO_PI : flags | IFF.NO_PI;
}

/** Flags that are given when a descriptor is attached. */
const CHOSEN =
  IFF.TUN | IFF.TAP | IFF.NAPI | IFF.NAPI_FRAGS | IFF.NO_CARRIER | IFF.MULTI_QUEUE | IFF.NO_PI | IFF.VNET_HDR;

/** Attaches a descriptor to a device, as it was. Returns 0 or -errno. */
export function attach(local: LocalFd, { name, flags }: Queue): number {
  const result = request(local, TUN_IOCTL.TUNSETIFF, name, flags & CHOSEN);
  if (result < 0 || (flags & IFF.DETACH_QUEUE) === 0) return result;
  return request(local, TUN_IOCTL.TUNSETQUEUE, name, IFF.DETACH_QUEUE);
}

function request(local: LocalFd, command: number, name: string, flags: number): number {
  arena.fill(0, 0, Ifreq.size);
  arenaPath(name);
  arenaView.setUint16(Ifreq.offsets.value, flags, true);
  return trySyscall('ioctl', local, command, arenaAddress);
}

/** Says whether a device stays when nobody has it open. @throws SyscallError */
export function setLasting(local: LocalFd, lasting: boolean): void {
  const result = trySyscall('ioctl', local, TUN_IOCTL.TUNSETPERSIST, lasting ? 1 : 0);
  if (result < 0) throw new SyscallError('ioctl', -result, { resource: '/dev/net/tun' });
}

/** The size of the send buffer of a queue. @throws SyscallError */
export function sendBuffer(local: LocalFd): number {
  return ask(local, TUN_IOCTL.TUNGETSNDBUF);
}

/** @throws SyscallError */
export function setSendBuffer(local: LocalFd, size: number): void {
  tell(local, TUN_IOCTL.TUNSETSNDBUF, size);
}

/** The size of the header before each packet, if the device has one. @throws SyscallError */
export function vnetHeader(local: LocalFd): number {
  return ask(local, TUN_IOCTL.TUNGETVNETHDRSZ);
}

/** What a new device is to be. Owner and group are IDs, or -1 for none. */
export interface NewDevice extends Queue {
  readonly index: number;
  readonly owner: number;
  readonly group: number;
  readonly sendBuffer: number;
  readonly vnetHeader: number;
}

/**
 * Makes a persistent device in the network namespace in which `local` was opened. `local` is attached to the device,
 * and lets it go when it is closed. @throws SyscallError
 */
export function makeDevice(local: LocalFd, device: NewDevice): void {
  tell(local, TUN_IOCTL.TUNSETIFINDEX, device.index);
  const result = request(local, TUN_IOCTL.TUNSETIFF, device.name, device.flags & CHOSEN);
  if (result < 0) throw failed(result, device.name);
  // Owner and group are arguments themselves; none is what a device begins with.
  for (const [command, id] of [
    [TUN_IOCTL.TUNSETOWNER, device.owner],
    [TUN_IOCTL.TUNSETGROUP, device.group],
  ] as const) {
    const set = id === -1 ? 0 : trySyscall('ioctl', local, command, id);
    if (set < 0) throw failed(set, device.name);
  }
  tell(local, TUN_IOCTL.TUNSETSNDBUF, device.sendBuffer);
  tell(local, TUN_IOCTL.TUNSETVNETHDRSZ, device.vnetHeader);
  setLasting(local, true);
}

/** Reads a number. */
function ask(local: LocalFd, command: number): number {
  const result = trySyscall('ioctl', local, command, arenaAddress);
  if (result < 0) throw failed(result);
  return arenaView.getInt32(0, true);
}

/** Sets a number that is passed by its address. */
function tell(local: LocalFd, command: number, value: number): void {
  arenaView.setInt32(0, value, true);
  const result = trySyscall('ioctl', local, command, arenaAddress);
  if (result < 0) throw failed(result);
}

function failed(result: number, resource = '/dev/net/tun'): SyscallError {
  return new SyscallError('ioctl', -result, { resource });
}

/** Whether a tap device has a filter (TUNATTACHFILTER). The kernel tells no more than its length. */
export function isFiltered(local: LocalFd): boolean {
  arena.fill(0, 0, 16);
  // struct sock_fprog: the number of instructions comes first. Tun devices have no filters (EINVAL).
  return trySyscall('ioctl', local, TUN_IOCTL.TUNGETFILTER, arenaAddress) >= 0 && arenaView.getUint16(0, true) > 0;
}

/** The inode of the network namespace a device is in; undefined where the kernel does not tell (before 5.7). */
export function namespaceOfDevice(local: LocalFd): number | undefined {
  const fd = trySyscall('ioctl', local, TUN_IOCTL.TUNGETDEVNETNS, 0);
  if (fd < 0) return undefined;
  using namespace = new Fd(fd);
  return statusOf(namespace.number).ino;
}
