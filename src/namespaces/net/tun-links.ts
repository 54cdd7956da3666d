/** Tun and tap devices, seen as devices of a namespace. Their descriptors are kinds/file/tun. */
import type { DumpContext } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import type { InputOf } from '../../images/message.ts';
import type { TunLinkEntry, tunLinkEntry } from '../../images/schema/network.ts';
import { O } from '../../kernel/constants/files.ts';
import { IFF_LINK, IFLA_TUN } from '../../kernel/constants/rtnetlink.ts';
import { IFF, TUN_SNDBUF, TUN_VNET_HEADER } from '../../kernel/constants/tun.ts';
import { tryOpen } from '../../kernel/files.ts';
import { decodeAttributes } from '../../kernel/netlink/attributes.ts';
import { u32Of } from '../../kernel/netlink/rtnetlink.ts';
import { Fd, SyscallError } from '../../kernel/syscall.ts';
import type { Link } from './links.ts';
import { attach, makeDevice, sendBuffer, vnetHeader } from './tun-device.ts';

/** What only a descriptor that is attached to a device tells of it. */
export interface TunSizes {
  readonly sendBuffer: number;
  readonly vnetHeader: number;
}

/** Of devices that tasks are attached to, by `INODE/NAME`: the inode of the namespace and the name of the device. */
export const ATTACHED_TUN = new Slot((_: DumpContext) => new Map<string, TunSizes>());

/** The flags of a device, from what its link tells. Pure. */
export function tunFlags(data: Uint8Array): number {
  const attributes = decodeAttributes(data);
  const has = (type: number): boolean => (attributes.get(type)?.[0] ?? 0) !== 0;
  return (
    (attributes.get(IFLA_TUN.TYPE)?.[0] ?? IFF.TUN) |
    (has(IFLA_TUN.PI) ? 0 : IFF.NO_PI) |
    (has(IFLA_TUN.VNET_HDR) ? IFF.VNET_HDR : 0) |
    (has(IFLA_TUN.PERSIST) ? IFF.PERSIST : 0) |
    (has(IFLA_TUN.MULTI_QUEUE) ? IFF.MULTI_QUEUE : 0)
  );
}

/** A device for the image. `attached`: what a descriptor of a task has told. To be called inside of its namespace. */
export function tunLinkOf(link: Link, attached: TunSizes | undefined): InputOf<typeof tunLinkEntry> {
  const data = link.data ?? new Uint8Array();
  const attributes = decodeAttributes(data);
  const flags = tunFlags(data);
  const sizes = attached ?? (link.flags & IFF_LINK.UP ? USUAL : sizesOf(link.name, flags));
  return {
    flags,
    owner: (u32Of(attributes.get(IFLA_TUN.OWNER)) ?? -1) | 0,
    group: (u32Of(attributes.get(IFLA_TUN.GROUP)) ?? -1) | 0,
    vnethdr: sizes.vnetHeader,
    sndbuf: sizes.sendBuffer,
  };
}

/** What a device has for which nobody has chosen sizes. */
const USUAL: TunSizes = { sendBuffer: TUN_SNDBUF, vnetHeader: TUN_VNET_HEADER };

/**
 * Attaches to a device for a moment, unless somebody else is attached. This must not be done to one that is up: it
 * gets a carrier, and with that a link-local address, sends reports, and its routes come to life.
 */
function sizesOf(name: string, flags: number): TunSizes {
  const opened = tryOpen('/dev/net/tun', O.RDWR);
  if (opened >= 0) {
    using fd = new Fd(opened);
    if (attach(fd.number, { name, flags }) === 0) {
      return { sendBuffer: sendBuffer(fd.number), vnetHeader: vnetHeader(fd.number) };
    }
  }
  return USUAL;
}

/**
 * Makes a device again, to be called inside of its namespace. It is persistent; who attaches to it first makes it what
 * it was (kinds/file/tun). @throws SyscallError
 */
export function makeTunLink(name: string, index: number, entry: TunLinkEntry): void {
  const opened = tryOpen('/dev/net/tun', O.RDWR);
  if (opened < 0) throw new SyscallError('openat', -opened, { resource: '/dev/net/tun' });
  using fd = new Fd(opened);
  const { flags, owner, group, vnethdr, sndbuf } = entry;
  makeDevice(fd.number, { name, index, flags, owner, group, sendBuffer: sndbuf, vnetHeader: vnethdr });
}
