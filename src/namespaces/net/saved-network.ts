/** A network namespace as images have it. */
import { addTo } from '../../base/lists.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { imageName, type RawKind } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import { NdType, type NetDeviceEntry, type NetnsEntry } from '../../images/schema/network.ts';
import type { NetlinkMessage } from '../../kernel/netlink/message.ts';
import { decodeOwnFile, type OwnFile, type OwnLink, ownFileName } from './own-file.ts';
import { kindOfEntry } from './saved-links.ts';
import { decodeStream, STREAM_MAGIC, splitMessages } from './streams.ts';

/** A device in images. */
export interface SavedLink {
  readonly entry: NetDeviceEntry;
  /** What Stasis' own file has of it; undefined in images of `criu`. */
  readonly own: OwnLink | undefined;
  /** By the name that `ip link add type` takes; undefined for `lo` and for devices that somebody else makes. */
  readonly kind: string | undefined;
}

/** All that images have of a namespace. */
export interface SavedNetwork {
  readonly id: number;
  readonly netns: NetnsEntry | undefined;
  readonly links: readonly SavedLink[];
  readonly addresses: readonly NetlinkMessage[];
  readonly routes: readonly NetlinkMessage[];
  readonly routes6: readonly NetlinkMessage[];
  /** Undefined if the image is absent, as after `criu dump` where `ip rule save` does not work. */
  readonly rules: readonly NetlinkMessage[] | undefined;
  readonly rules6: readonly NetlinkMessage[] | undefined;
  readonly nexthops: readonly NetlinkMessage[];
  readonly neighbours: readonly NetlinkMessage[];
  readonly forwarding: readonly NetlinkMessage[];
  /** Undefined in images of `criu`, which has them as a text. */
  readonly nftables: readonly NetlinkMessage[] | undefined;
  /** The sysctls that CRIU's images have no place for, by path. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** Those of devices, by their directories (`ipv4/neigh/eth0`): names and values. */
  readonly ofDirectory: ReadonlyMap<string, readonly (readonly [name: string, value: string])[]>;
}

/** Reads the images of a namespace. @throws ImageError */
export function readNetwork(images: ImageSet, id: number): SavedNetwork {
  const bytes = images.own(ownFileName(id));
  const own: OwnFile = bytes ? decodeOwnFile(bytes, id) : { sysctls: {}, links: [] };
  const [netns] = images.read(Images.netns, id);
  const byIndex = new Map(own.links.map((link) => [link.index, link]));
  const stream = (kind: RawKind, magic: number): NetlinkMessage[] => {
    return decodeStream(magic, images.bytes(kind, id), imageName(kind, id));
  };
  const ownStream = (text: string | undefined): NetlinkMessage[] => {
    return text === undefined ? [] : splitMessages(bytesOf(text), ownFileName(id));
  };
  return {
    id,
    netns,
    links: images.read(Images.netdev, id).map((entry) => savedLink(entry, byIndex.get(entry.ifindex))),
    addresses: stream(Images.ifaddr, STREAM_MAGIC.addresses),
    routes: stream(Images.route, STREAM_MAGIC.routes),
    routes6: stream(Images.route6, STREAM_MAGIC.routes),
    rules: images.bytes(Images.rule, id) && stream(Images.rule, STREAM_MAGIC.rules),
    rules6: own.rules6 === undefined ? undefined : ownStream(own.rules6),
    nexthops: ownStream(own.nexthops),
    neighbours: ownStream(own.neighbours),
    forwarding: ownStream(own.forwarding),
    nftables: bytes && ownStream(own.nftables),
    sysctls: own.sysctls,
    ofDirectory: byDirectory(own.sysctls),
  };
}

function byDirectory(sysctls: SavedNetwork['sysctls']): SavedNetwork['ofDirectory'] {
  const found = new Map<string, [name: string, value: string][]>();
  for (const [path, value] of Object.entries(sysctls)) {
    const slash = path.lastIndexOf('/');
    addTo(found, path.slice(0, slash), [path.slice(slash + 1), value]);
  }
  return found;
}

function savedLink(entry: NetDeviceEntry, own: OwnLink | undefined): SavedLink {
  const isMade = entry.type !== NdType.LOOPBACK && own?.external !== true;
  return { entry, own, kind: isMade ? (own?.kind ?? kindOfEntry(entry)) : undefined };
}

/** Bytes of a Base64 text of Stasis' own file. */
export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
