/** How each network device of a tree can be made again, and in which order. Pure. */
import { StasisError } from '../../base/errors.ts';
import { NdType } from '../../images/schema/network.ts';
import type { ExternalDevices, OuterEnd } from './externals.ts';
import { LINK_KINDS, lowerInData } from './link-kinds.ts';
import { bytesOf, type SavedLink, type SavedNetwork } from './saved-network.ts';

/** A device of the tree: the ID of its namespace in the images, and its index there. */
export interface DeviceRef {
  readonly namespace: number;
  readonly index: number;
}

/** How a device is made. */
export type Way =
  /** It is there: `lo`, or what an action script has put into the namespace. */
  | { readonly how: 'present' }
  /** It is outside under another name, and is moved in. */
  | { readonly how: 'move'; readonly from: string }
  | { readonly how: 'tun' }
  /** A veth pair whose other end is outside. */
  | { readonly how: 'outer-pair'; readonly outer: OuterEnd }
  /** A veth pair whose other end is in the tree; one of the ends makes both. */
  | { readonly how: 'pair'; readonly peer: DeviceRef }
  /** It is stacked on a device outside, made there and moved in. */
  | { readonly how: 'on-outer'; readonly lower: string }
  /** It is made by a request, as soon as the device it is stacked on is there. */
  | { readonly how: 'request'; readonly lower: DeviceRef | undefined };

/** The way in which a device is made. @throws StasisError if an option has to be given first */
export function wayOf({ entry, kind, own }: SavedLink, namespace: number, external: ExternalDevices): Way {
  const from = external.netdev.get(entry.name);
  if (from) return { how: 'move', from };
  if (kind === undefined) return { how: 'present' };
  if (kind === 'tun') return { how: 'tun' };
  if (kind === 'veth') return wayOfPair(entry, external);
  const outer = external.macvlan.get(entry.name);
  if (outer !== undefined) return { how: 'on-outer', lower: outer };
  const inData = own?.data === undefined ? undefined : lowerInData(kind, bytesOf(own.data));
  const lower = LINK_KINDS.get(kind)?.stacked ? entry.peer_ifindex : inData;
  if (lower === undefined) return { how: 'request', lower: undefined };
  if (entry.peer_nsid !== undefined) return { how: 'request', lower: { namespace: entry.peer_nsid, index: lower } };
  if (entry.type !== NdType.MACVLAN && own === undefined) {
    return { how: 'request', lower: { namespace, index: lower } };
  }
  throw needed(
    `the device that ${entry.name} is stacked on is outside of the tree`,
    entry.name,
    `name it: --external 'macvlan[${entry.name}]:DEVICE'`,
  );
}

function wayOfPair({ name, peer_ifindex, peer_nsid }: SavedLink['entry'], external: ExternalDevices): Way {
  const outer = external.veth.get(name);
  if (outer) return { how: 'outer-pair', outer };
  if (peer_nsid !== undefined && peer_ifindex !== undefined) {
    return { how: 'pair', peer: { namespace: peer_nsid, index: peer_ifindex } };
  }
  throw needed(
    'its other end is outside of the tree',
    name,
    `give the other end a name: --external 'veth[${name}]:NAME' or 'veth[${name}]:NAME@BRIDGE'; or move a device in that` +
      ` is there: --external 'netdev[${name}]:DEVICE'`,
  );
}

function needed(reason: string, name: string, remedy: string): StasisError {
  return new StasisError({ kind: 'usage', code: 'NETWORK_DEVICE', resource: `network device ${name}`, reason, remedy });
}

/** A device that is to be made. */
export interface PlannedLink {
  readonly link: SavedLink;
  readonly way: Way;
  readonly ref: DeviceRef;
}

/** The devices of a namespace with the ways they are made. @throws StasisError */
export function planLinks({ id, links }: SavedNetwork, external: ExternalDevices): PlannedLink[] {
  return links.map((link) => ({
    link,
    way: wayOf(link, id, external),
    ref: { namespace: id, index: link.entry.ifindex },
  }));
}

/** Whether a device can be made now. `isThere` tells which namespaces and devices are made. */
export function isReady(
  { way }: PlannedLink,
  isThere: { namespace(id: number): boolean; device(ref: DeviceRef): boolean },
): boolean {
  if (way.how === 'pair') return isThere.namespace(way.peer.namespace);
  if (way.how === 'request' && way.lower) return isThere.device(way.lower);
  return true;
}
