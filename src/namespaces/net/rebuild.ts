/**
 * Makes again what is in the network namespaces of a tree. They come into being one after the other, with their first
 * members; a device that is tied to one in another namespace, as the end of a veth pair, waits for that. When all
 * devices of a namespace are there, it gets its addresses, routes, rules and filters.
 */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logInfo } from '../../base/log.ts';
import type { MadeNamespace, RestoreContext } from '../../contract/contract.ts';
import { IFF_LINK, IFLA, IN6_ADDR_GEN_MODE, RTM } from '../../kernel/constants/rtnetlink.ts';
import { AF } from '../../kernel/constants/sockets.ts';
import { Ifinfomsg } from '../../kernel/layouts/rtnetlink.ts';
import { u32Bytes } from '../../kernel/netlink/attributes.ts';
import { payloadOf } from '../../kernel/netlink/rtnetlink.ts';
import { NetlinkError } from '../../kernel/netlink/socket.ts';
import { ERRNO, type Fd } from '../../kernel/syscall.ts';
import { inside, openNamespace } from '../inside.ts';
import { type ExternalDevices, externalDevices } from './externals.ts';
import { removeFilters, restoreFilters, restoreTracked } from './filters.ts';
import type { Link } from './links.ts';
import { NetworkView } from './look.ts';
import {
  moveLink,
  moveOut,
  requestElsewhere,
  requestLink,
  requestOuterPair,
  requestPair,
  setAddressMode,
  setFlags,
  setMaster,
  setNames,
  setPresent,
  setSlaveData,
} from './make-links.ts';
import {
  addForwarding,
  addNeighbours,
  addNexthops,
  awaitAddresses,
  isTentative,
  settleAddresses,
  settleRoutes,
  settleRules,
} from './reconcile.ts';
import { beginSysctls, endSysctls, FreshSettings, type SysctlManner, setDeviceSysctls } from './restore-sysctls.ts';
import { readNetwork, type SavedLink, type SavedNetwork } from './saved-network.ts';
import { makeTunLink } from './tun-links.ts';
import { type DeviceRef, isReady, type PlannedLink, planLinks } from './ways.ts';

/** A namespace that is being filled. */
interface Network {
  readonly saved: SavedNetwork;
  readonly fd: LocalFd;
  readonly view: NetworkView;
  /** Devices that are not made yet. */
  waiting: PlannedLink[];
  /** Indices of those that are. */
  readonly made: Set<number>;
  isComplete: boolean;
}

/** The network namespaces of a restore. */
export class NetworkRestore implements Disposable {
  readonly #context: RestoreContext;
  readonly #external: ExternalDevices;
  readonly #networks = new Map<number, Network>();
  /** Our own. */
  readonly #ownFd: Fd;
  readonly #own: NetworkView;
  /** The ends of veth pairs outside, which are taken into operation when all is restored. */
  readonly #outerEnds: { readonly name: string; readonly bridge: string | undefined }[] = [];

  constructor(context: RestoreContext) {
    this.#context = context;
    this.#external = externalDevices(context.options.external);
    this.#ownFd = openNamespace('self', 'net');
    this.#own = new NetworkView();
    // Undone after everything that is registered later.
    context.undo(() => this[Symbol.dispose]());
  }

  /** Fills a namespace that has just been made, as far as is possible now. @throws StasisError */
  add({ id, fd }: MadeNamespace): void {
    const saved = readNetwork(this.#context.images, id);
    if (saved.netns?.ext_key !== undefined) return; // it has come from outside, with what is in it
    const waiting = planLinks(saved, this.#external);
    const view = inside('net', fd, () => {
      beginSysctls(saved, this.#manner);
      return new NetworkView();
    });
    const network: Network = { saved, fd, view, waiting, made: new Set(), isComplete: false };
    this.#networks.set(id, network);
    this.#setIds();
    this.#proceed();
  }

  /**
   * The last step, when all tasks are rebuilt; further calls do nothing. @throws StasisError if a device still waits
   * for another one
   */
  finish(): void {
    for (const { waiting } of this.#networks.values()) {
      const [first] = waiting;
      if (!first) continue;
      const reason = 'the device that it is tied to is in a network namespace that no process of the tree is in';
      throw failed(first.link.entry.name, reason);
    }
    for (const { name, bridge } of this.#outerEnds.splice(0)) this.#connect(name, bridge);
    this[Symbol.dispose]();
  }

  /**
   * Does `work` while a namespace, by its ID in the images, is without the packet filters that it has got. Returns
   * false if it has got none.
   */
  withoutFilters(id: number, work: () => void): boolean {
    const network = this.#networks.get(id);
    if (!network?.isComplete) return false;
    const { images } = this.#context;
    inside('net', network.fd, () => {
      removeFilters(id, images);
      try {
        work();
      } finally {
        restoreFilters(id, images, network.saved.nftables);
      }
    });
    return true;
  }

  get #manner(): SysctlManner {
    const { options, ids } = this.#context;
    return { weak: options.weakSysctls, ids, notice: (facts) => this.#context.notice(facts) };
  }

  /** The IDs by which namespaces know one another, as far as they exist. */
  #setIds(): void {
    for (const { view, saved } of this.#networks.values()) {
      for (const { target_ns_id, netnsid_value } of saved.netns?.nsids ?? []) {
        const target = this.#networks.get(target_ns_id);
        if (target && view.idOf(target.fd) === undefined) view.setIdOf(target.fd, netnsid_value);
      }
    }
  }

  /** Makes devices until all that are left wait for others, and completes namespaces that have all of theirs. */
  #proceed(): void {
    const isThere = {
      namespace: (id: number): boolean => this.#networks.has(id),
      device: ({ namespace, index }: DeviceRef): boolean => this.#networks.get(namespace)?.made.has(index) ?? false,
    };
    for (let progress = true; progress; ) {
      progress = false;
      for (const network of this.#networks.values()) {
        for (const planned of network.waiting.filter((one) => isReady(one, isThere))) {
          // The other end of a pair may just have made it.
          if (!network.made.has(planned.ref.index)) this.#make(network, planned);
          network.waiting = network.waiting.filter((one) => one !== planned);
          progress = true;
        }
      }
    }
    const complete = [...this.#networks.values()].filter(
      ({ waiting, isComplete }) => waiting.length === 0 && !isComplete,
    );
    for (const network of complete) this.#settleLinks(network);
    for (const network of complete) this.#settle(network);
  }

  #make(network: Network, { link, way }: PlannedLink): void {
    const { entry } = link;
    naming(entry.name, () => {
      switch (way.how) {
        case 'present':
          return this.#takeOver(network, link);
        case 'move':
          return this.#moveIn(network, link, way.from);
        case 'tun':
          inside('net', network.fd, () => makeTunLink(entry.name, entry.ifindex, tunOf(link)));
          return this.#takeOver(network, link);
        case 'outer-pair':
          this.#outerEnds.push(way.outer);
          return requestOuterPair(network.view, link, way.outer.name, this.#ownFd.number);
        case 'pair':
          return this.#makePair(network, link, way.peer);
        case 'on-outer': {
          const lower = this.#outerDevice(way.lower, entry.name);
          return requestElsewhere(this.#own, lower.index, link, network.fd);
        }
        case 'request': {
          const there = way.lower && this.#networks.get(way.lower.namespace);
          if (!way.lower || !there || there === network)
            return requestLink(network.view, link, stackedOn(link, way.lower));
          return requestElsewhere(there.view, way.lower.index, link, network.fd);
        }
      }
    });
    network.made.add(entry.ifindex);
  }

  #makePair(network: Network, link: SavedLink, { namespace, index }: DeviceRef): void {
    const other = this.#networks.get(namespace);
    const peer = other?.saved.links.find(({ entry }) => entry.ifindex === index);
    if (!other || !peer) throw failed(link.entry.name, `its other end, device ${index}, is not in the images`);
    requestPair(network.view, link, peer, other.fd);
    other.made.add(index);
  }

  /** A device that is there: `lo`, or one that a script has made. */
  #takeOver({ view }: Network, link: SavedLink): void {
    const { name } = link.entry;
    const now = view.linkNamed(name);
    if (!now) {
      const remedy = `--external 'netdev[${name}]:DEVICE' moves a device in; or make one in an action script`;
      throw failed(name, 'it is external, and no such device is in the network namespace', remedy);
    }
    setPresent(view, link, now);
  }

  #moveIn({ view, fd }: Network, link: SavedLink, from: string): void {
    const { index } = this.#outerDevice(from, link.entry.name);
    moveLink(this.#own, index, link, fd);
    const own = this.#ownFd.number;
    this.#context.undo(() => {
      // When the restore is as good as done, the view is closed. If it fails even so, the kernel brings a device of
      // hardware back when the namespace ends (default_device_exit_net() in net/core/dev.c).
      if (view.isOpen) moveOut(view, link.entry.ifindex, from, own);
    });
  }

  #outerDevice(name: string, inner: string): Link {
    const found = this.#own.linkNamed(name);
    if (found) return found;
    throw failed(
      inner,
      `there is no network device ${name} outside`,
      `name another one (--external), or make it: ip link add`,
    );
  }

  /** Ports, settings, flags and names of the devices. */
  #settleLinks({ saved, view, fd, made }: Network): void {
    const { links } = saved;
    const kinds = new Map(links.map(({ entry, kind }) => [entry.ifindex, kind]));
    for (const link of links) {
      const { master } = link.entry;
      if (master !== undefined && made.has(master)) naming(link.entry.name, () => setMaster(view, link, master));
    }
    if (links.some(({ own, entry }) => own?.slave !== undefined && entry.master !== undefined)) {
      const now = new Map(view.links().map((link) => [link.index, link]));
      for (const link of links) {
        const { master = 0, ifindex, name } = link.entry;
        const [port, kind] = [now.get(ifindex), kinds.get(master)];
        if (port && kind) naming(name, () => setSlaveData(view, link, port, kind));
      }
    }
    inside('net', fd, () => {
      const fresh = new Map<string, FreshSettings>();
      for (const link of links) {
        const { kind } = link;
        if (kind !== undefined && !fresh.has(kind)) fresh.set(kind, new FreshSettings());
        setDeviceSysctls(saved, link, kind === undefined ? undefined : fresh.get(kind), this.#manner);
      }
    });
    for (const link of links) {
      const { name, ifindex } = link.entry;
      // A secret for its addresses has set the mode by which it gets one.
      if (link.kind !== undefined) naming(name, () => setAddressMode(view, ifindex, IN6_ADDR_GEN_MODE.NONE));
      naming(name, () => setNames(view, link, ifindex));
    }
    this.#setUp(view, links);
  }

  /** Sets the flags of devices; one that is stacked on another is refused as long as that is down. */
  #setUp(view: NetworkView, links: readonly SavedLink[]): void {
    for (let rest = links; rest.length > 0; ) {
      const refused = rest.filter(({ entry }) => {
        try {
          naming(entry.name, () => setFlags(view, entry.ifindex, entry.flags));
          return false;
        } catch (error) {
          if (!(error instanceof StasisError) || !isDown(error.cause)) throw error;
          return true;
        }
      });
      if (refused.length === rest.length) {
        throw failed(refused[0]?.entry.name ?? '', 'it cannot be taken into operation: what it is stacked on is down');
      }
      rest = refused;
    }
  }

  /** Addresses, routes, rules, neighbours, and what had to wait for them. */
  #settle(network: Network): void {
    const { saved, view, fd } = network;
    const step = (what: string, work: () => void): void => naming(undefined, work, what);
    const checked = saved.addresses.filter((address) => !isTentative(address));
    step('addresses', () => settleAddresses(view, checked));
    for (const { own, entry, kind } of saved.links) {
      // Images of `criu` do not tell it; this is what devices have as a rule.
      const usual = own === undefined && kind !== undefined ? IN6_ADDR_GEN_MODE.EUI64 : undefined;
      const mode = own?.addressMode ?? usual;
      if (mode !== undefined) naming(entry.name, () => setAddressMode(view, entry.ifindex, mode));
    }
    step('neighbours', () => addNeighbours(view, saved.neighbours));
    step('forwarding tables', () => addForwarding(view, saved.forwarding));
    step('nexthops', () => addNexthops(view, saved.nexthops));
    step('routes', () => settleRoutes(view, AF.INET, saved.routes));
    step('routes of IPv6', () => settleRoutes(view, AF.INET6, saved.routes6));
    step('rules for routes', () => {
      if (saved.rules) settleRules(view, AF.INET, saved.rules);
      if (saved.rules6) settleRules(view, AF.INET6, saved.rules6);
    });
    step('addresses', () => awaitAddresses(view, checked));
    inside('net', fd, () => {
      step('packet filters', () => restoreFilters(saved.id, this.#context.images, saved.nftables));
      step('tracked connections', () => restoreTracked(saved.id, this.#context.images, this.#manner.notice));
      endSysctls(saved);
    });
    // Whether others have them had not been found out yet: the kernel looks again, now that it is told to (accept_dad).
    if (checked.length < saved.addresses.length) step('addresses', () => settleAddresses(view, saved.addresses));
    network.isComplete = true;
    logInfo(`the network namespace ${saved.id} has its ${saved.links.length} devices`);
  }

  /** Takes the outer end of a veth pair into operation, as a port of a bridge if there is to be one. */
  #connect(name: string, bridge: string | undefined): void {
    const { index } = this.#outerDevice(name, name);
    naming(name, () => {
      if (bridge !== undefined) {
        const master = this.#outerDevice(bridge, name).index;
        this.#own.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, { index }, [[IFLA.MASTER, u32Bytes(master)]]));
      }
      const up = { index, flags: IFF_LINK.UP, change: IFF_LINK.UP };
      this.#own.socket.request(RTM.SETLINK, payloadOf(Ifinfomsg, up));
    });
  }

  [Symbol.dispose](): void {
    for (const { view } of this.#networks.values()) view[Symbol.dispose]();
    this.#networks.clear();
    this.#own[Symbol.dispose]();
    this.#ownFd[Symbol.dispose]();
  }
}

/** The index of what a device is stacked on, for those that are told by an attribute of their own. */
function stackedOn({ own, kind }: SavedLink, lower: DeviceRef | undefined): number | undefined {
  // A tunnel has it in its data.
  return own?.data !== undefined && kind === 'vxlan' ? undefined : lower?.index;
}

function tunOf({ entry }: SavedLink): NonNullable<SavedLink['entry']['tun']> {
  if (entry.tun) return entry.tun;
  throw failed(entry.name, 'the images do not tell what kind of tun device it is');
}

function isDown(error: unknown): boolean {
  return error instanceof NetlinkError && error.errno === ERRNO.ENETDOWN;
}

function failed(name: string, reason: string, remedy?: string): StasisError {
  const resource = `network device ${name}`;
  return new StasisError({ kind: 'conflict', code: 'NETWORK_DEVICE', resource, reason, remedy });
}

/** Names the device, or what else of a namespace, in the errors of `work`. */
function naming<T>(name: string | undefined, work: () => T, what = 'network namespace'): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    const resource = name === undefined ? `${what} of a network namespace` : `network device ${name}`;
    throw new StasisError({
      kind: 'kernel',
      resource,
      reason: `it cannot be made again: ${error.reason}`,
      cause: error,
    });
  }
}
