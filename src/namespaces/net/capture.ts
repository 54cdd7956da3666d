/** Saves what is in a network namespace. */

import type { LocalFd } from '../../base/brands.ts';
import type { IdView } from '../../contract/contract.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { imageName, type RawKind } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import type { InputOf } from '../../images/message.ts';
import { NdType, type netDeviceEntry } from '../../images/schema/network.ts';
import { IFLA, IFLA_INET6_ADDR_GEN_MODE } from '../../kernel/constants/rtnetlink.ts';
import { AF } from '../../kernel/constants/sockets.ts';
import { decodeAttributes } from '../../kernel/netlink/attributes.ts';
import type { NetlinkMessage } from '../../kernel/netlink/message.ts';
import { DeviceSettings } from './device-settings.ts';
import { captureFilters } from './filters.ts';
import { isUnusedFallback, type Link } from './links.ts';
import { NetworkView } from './look.ts';
import type { Ruleset } from './nftables.ts';
import { encodeOwnFile, type OwnFile, type OwnLink, ownFileName } from './own-file.ts';
import { commonAttributes, entryOfLink, type LinkDraft, ownData } from './saved-links.ts';
import { encodeStream, joinMessages, STREAM_MAGIC } from './streams.ts';
import { readConf, readIpv4Conf, readOtherSysctls, readUnixConf } from './sysctls.ts';
import { type TunSizes, tunLinkOf } from './tun-links.ts';

/** Another network namespace of the tree. */
export interface Neighbour {
  /** Its ID in the images. */
  readonly id: number;
  readonly fd: LocalFd;
}

/** What {@link captureNetwork} has to know. */
export interface NetworkDump {
  /** The ID of the namespace in the images. */
  readonly id: number;
  readonly images: ImageSetWriter;
  /** Groups as the images hold them. */
  readonly ids: IdView;
  /** All network namespaces of the tree, this one among them. */
  readonly namespaces: readonly Neighbour[];
  /** Names of devices that somebody else makes at the restore (`--external netdev[NAME]`). */
  readonly external: ReadonlySet<string>;
  /** Sizes of the tun and tap devices that tasks are attached to, by name. */
  readonly tunSizes: (name: string) => TunSizes | undefined;
}

/** Saves a network namespace. To be called inside of it. @throws StasisError */
export function captureNetwork(dump: NetworkDump): void {
  const { id, images, ids, namespaces } = dump;
  using view = new NetworkView();
  // The kernel gives an ID to each namespace in which a device has its other end when it lists the devices, so the IDs
  // are read afterwards.
  const links = view.links().filter((link) => !isUnusedFallback(link));
  const known = namespaces.flatMap((other) => {
    const nsid = view.idOf(other.fd);
    return nsid === undefined ? [] : [{ id: other.id, nsid }];
  });
  const idOf = (wanted: number): number | undefined => known.find(({ nsid }) => nsid === wanted)?.id;
  images.write(Images.netns, id, [
    {
      def_conf4: readConf('ipv4', 'default'),
      all_conf4: readConf('ipv4', 'all'),
      def_conf6: readConf('ipv6', 'default'),
      all_conf6: readConf('ipv6', 'all'),
      nsids: known.map((namespace) => ({ target_ns_id: namespace.id, netnsid_value: namespace.nsid })),
      unix_conf: readUnixConf(),
      ipv4_sysctl: readIpv4Conf(ids),
    },
  ]);
  const settings = new DeviceSettings(links, view);
  const entries = links.map((link) => completeEntry(link, entryOfLink(link, id, idOf), settings, dump));
  images.write(Images.netdev, id, entries);
  const stream = (kind: RawKind, magic: number, messages: readonly NetlinkMessage[]): void => {
    images.put(imageName(kind, id), encodeStream(magic, messages));
  };
  stream(Images.ifaddr, STREAM_MAGIC.addresses, view.addresses());
  stream(Images.route, STREAM_MAGIC.routes, view.routes(AF.INET));
  stream(Images.route6, STREAM_MAGIC.routes, view.routes(AF.INET6));
  stream(Images.rule, STREAM_MAGIC.rules, view.rules(AF.INET));
  const ruleset = captureFilters(id, images);
  images.put(ownFileName(id), encodeOwnFile(ownFile(view, links, ruleset, settings, dump)));
}

type Entry = InputOf<typeof netDeviceEntry>;

function completeEntry(
  link: Link,
  draft: LinkDraft,
  settings: DeviceSettings,
  { external, tunSizes }: NetworkDump,
): Entry {
  const isExternal = external.has(link.name);
  return {
    ...draft,
    ...(isExternal ? { type: NdType.EXTLINK } : {}),
    ...(link.kind === 'tun' && !isExternal ? { tun: tunLinkOf(link, tunSizes(link.name)) } : {}),
    conf4: settings.conf('ipv4', link.name),
    conf6: settings.conf('ipv6', link.name),
  };
}

function ownFile(
  view: NetworkView,
  links: readonly Link[],
  ruleset: Ruleset,
  settings: DeviceSettings,
  { external }: NetworkDump,
): OwnFile {
  const sysctls = readOtherSysctls();
  for (const device of ['all', 'default', ...links.map(({ name }) => name)]) {
    for (const [path, value] of settings.other(device)) sysctls.set(path, value);
  }
  const inBase64 = (messages: readonly NetlinkMessage[]): string | undefined => {
    return messages.length === 0 ? undefined : base64(joinMessages(messages));
  };
  const content: { -readonly [K in keyof OwnFile]: OwnFile[K] | undefined } = {
    sysctls: Object.fromEntries(sysctls),
    links: links.map((link) => ownLink(link, external)),
    rules6: inBase64(view.rules(AF.INET6)),
    nexthops: inBase64(view.nexthops()),
    nftables: inBase64(ruleset),
    neighbours: inBase64(view.neighbours()),
    forwarding: links.some(({ kind }) => kind === 'bridge' || kind === 'vxlan')
      ? inBase64(view.forwarding())
      : undefined,
  };
  return content as OwnFile; // JSON leaves out what is undefined
}

function ownLink(link: Link, external: ReadonlySet<string>): OwnLink {
  const data = ownData(link);
  const common = commonAttributes(link);
  const otherNames = NetworkView.otherNames(link);
  const addressMode = addressModeOf(link);
  return {
    index: link.index,
    ...(external.has(link.name) ? { external: true } : {}),
    ...(link.kind === undefined ? {} : { kind: link.kind }),
    ...(data ? { data: base64(data) } : {}),
    ...(link.slaveData ? { slave: base64(link.slaveData) } : {}),
    ...(common.length > 0 ? { common: base64(common) } : {}),
    ...(otherNames.length > 0 ? { otherNames } : {}),
    ...(addressMode === undefined ? {} : { addressMode }),
  };
}

/** IN6_ADDR_GEN_MODE_*: how the device gets its link-local address. */
function addressModeOf({ attributes }: Link): number | undefined {
  const families = decodeAttributes(attributes.get(IFLA.AF_SPEC) ?? new Uint8Array());
  return decodeAttributes(families.get(AF.INET6) ?? new Uint8Array()).get(IFLA_INET6_ADDR_GEN_MODE)?.[0];
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
