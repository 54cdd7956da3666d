/**
 * What rtnetlink tells of a network namespace. A {@link NetworkView} is made inside of it, and is of it from then on.
 */
import type { LocalFd } from '../../base/brands.ts';
import { NETLINK } from '../../kernel/constants/netlink.ts';
import { IFLA, NETNSA, NTF, NUD, RT_TABLE, RTM, RTM_F, RTPROT, TCA } from '../../kernel/constants/rtnetlink.ts';
import { AF } from '../../kernel/constants/sockets.ts';
import { Ifinfomsg, Ndmsg, Nhmsg, Rtgenmsg, Rtmsg, Tcmsg } from '../../kernel/layouts/rtnetlink.ts';
import { listAttributes, u32Bytes } from '../../kernel/netlink/attributes.ts';
import type { NetlinkMessage } from '../../kernel/netlink/message.ts';
import { attributesOf, i32Of, payloadOf, textOf } from '../../kernel/netlink/rtnetlink.ts';
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts';
import { ERRNO } from '../../kernel/syscall.ts';
import { decodeLink, type Link } from './links.ts';

/** A queueing discipline that somebody has chosen. */
export interface ChosenQueue {
  readonly index: number;
  readonly kind: string;
}

/** A network namespace, through a netlink socket that belongs to it. */
export class NetworkView implements Disposable {
  readonly socket: NetlinkSocket;
  #isOpen = true;

  /** To be called inside of the namespace. @throws SyscallError */
  constructor() {
    this.socket = new NetlinkSocket(NETLINK.ROUTE, 'network namespace');
  }

  /** Its devices, in the order of their indices. @throws NetlinkError */
  links(): Link[] {
    const request = payloadOf(Ifinfomsg, { family: 0 });
    const found = this.socket.list(RTM.GETLINK, request).filter(({ type }) => type === RTM.NEWLINK);
    return found.map(({ payload }) => decodeLink(payload)).sort((a, b) => a.index - b.index);
  }

  /** A device; undefined if there is none of that name. @throws NetlinkError */
  linkNamed(name: string): Link | undefined {
    return this.links().find((link) => link.name === name);
  }

  /** The ID by which this namespace knows another; undefined if it knows it by none. @throws NetlinkError */
  idOf(namespace: LocalFd): number | undefined {
    const [answer] = this.socket.request(RTM.GETNSID, payloadOf(Rtgenmsg, {}, [[NETNSA.FD, u32Bytes(namespace)]]));
    const id = answer && i32Of(attributesOf(Rtgenmsg, answer.payload).get(NETNSA.NSID));
    return id === undefined || id < 0 ? undefined : id;
  }

  /** Gives another namespace an ID. @throws NetlinkError */
  setIdOf(namespace: LocalFd, id: number): void {
    const attributes = [[NETNSA.NSID, u32Bytes(id)] as const, [NETNSA.FD, u32Bytes(namespace)] as const];
    this.socket.request(RTM.NEWNSID, payloadOf(Rtgenmsg, {}, attributes));
  }

  /** Its addresses. @throws NetlinkError */
  addresses(): NetlinkMessage[] {
    return this.#list(RTM.GETADDR, RTM.NEWADDR, 0);
  }

  /**
   * The routes of a family that somebody has set or that follow from addresses, of all tables. Those of the table
   * `local` are left out if the kernel has made them: they come with the addresses.
   * @throws NetlinkError
   */
  routes(family: number): NetlinkMessage[] {
    return this.#list(RTM.GETROUTE, RTM.NEWROUTE, family).filter(({ payload }) => {
      const header = Rtmsg.decode(payload);
      if (header.family !== family || (header.flags & RTM_F.CLONED) !== 0) return false;
      return header.table !== RT_TABLE.LOCAL || header.protocol !== RTPROT.KERNEL;
    });
  }

  /** The rules of a family by which tables of routes are chosen. @throws NetlinkError */
  rules(family: number): NetlinkMessage[] {
    return this.#list(RTM.GETRULE, RTM.NEWRULE, family).filter(({ payload }) => payload[0] === family);
  }

  /** Nexthops that are objects of their own. Empty where the kernel has none (before 5.3). @throws NetlinkError */
  nexthops(): NetlinkMessage[] {
    try {
      return this.socket.list(RTM.GETNEXTHOP, payloadOf(Nhmsg, {}));
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === ERRNO.EOPNOTSUPP) return [];
      throw error;
    }
  }

  /** Neighbours that somebody has set, and addresses that are answered for (proxies). @throws NetlinkError */
  neighbours(): NetlinkMessage[] {
    const permanent = this.#list(RTM.GETNEIGH, RTM.NEWNEIGH, 0).filter(({ payload }) => {
      const { family, state, flags } = Ndmsg.decode(payload);
      const isSet = (state & NUD.PERMANENT) !== 0 || (flags & NTF.EXT_LEARNED) !== 0;
      return (family === AF.INET || family === AF.INET6) && isSet;
    });
    const proxies = this.socket
      .list(RTM.GETNEIGH, payloadOf(Ndmsg, { flags: NTF.PROXY }))
      .filter(({ payload }) => (Ndmsg.decode(payload).flags & NTF.PROXY) !== 0);
    return [...permanent, ...proxies];
  }

  /** Tables of neighbours: what they are set to in general, and for each device. @throws NetlinkError */
  neighbourTables(): NetlinkMessage[] {
    return this.socket.list(RTM.GETNEIGHTBL, payloadOf(Rtgenmsg, {}));
  }

  /** Entries of forwarding tables that somebody has set: of bridges, of vxlan devices. @throws NetlinkError */
  forwarding(): NetlinkMessage[] {
    return this.socket.list(RTM.GETNEIGH, payloadOf(Ndmsg, { family: AF.BRIDGE })).filter(({ type, payload }) => {
      const { family, state } = Ndmsg.decode(payload);
      return type === RTM.NEWNEIGH && family === AF.BRIDGE && (state & (NUD.PERMANENT | NUD.NOARP)) !== 0;
    });
  }

  /** Queueing disciplines that somebody has chosen; those that devices have by themselves have no handle. */
  chosenQueues(): ChosenQueue[] {
    const found = this.socket.list(RTM.GETQDISC, payloadOf(Tcmsg, {}));
    return found.flatMap(({ payload }) => {
      const { index, handle } = Tcmsg.decode(payload);
      return handle === 0 ? [] : [{ index, kind: textOf(attributesOf(Tcmsg, payload).get(TCA.KIND)) ?? '' }];
    });
  }

  /** The other names of a device. */
  static otherNames({ attributes }: Link): string[] {
    const list = listAttributes(attributes.get(IFLA.PROP_LIST) ?? new Uint8Array());
    return list.flatMap(([type, value]) => (type === IFLA.ALT_IFNAME ? (textOf(value) ?? []) : []));
  }

  #list(request: number, answer: number, family: number): NetlinkMessage[] {
    const header = payloadOf(Rtgenmsg, { family });
    return this.socket.list(request, header).filter(({ type }) => type === answer);
  }

  /** False as soon as it has been disposed of. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  [Symbol.dispose](): void {
    this.#isOpen = false;
    this.socket[Symbol.dispose]();
  }
}
