/** Probes for features of the network, through netlink. Probes that change something run in namespaces of their own. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { AT, O } from '../../kernel/constants/files.ts';
import { AF, IPPROTO, NETLINK, SOCK } from '../../kernel/constants/sockets.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { NLM_F } from '../../kernel/netlink/message.ts';
import { SOCK_DIAG_BY_FAMILY } from '../../kernel/netlink/unix-diag.ts';
import { arenaPath, describeErrno, ERRNO, Fd, syscall } from '../../kernel/syscall.ts';
import type { Seed } from '../../tracee/seed.ts';
import type { Probe } from './feature.ts';
import {
  type Answer,
  attribute,
  attributeTypes,
  be32,
  converse,
  message,
  NLA_F_NESTED,
  openNetlink,
  text,
  u32,
} from './netlink.ts';
import { ask, borrow, inThrowaway } from './throwaway.ts';

function refused({ errno }: Answer, what: string): string | undefined {
  return errno === 0 ? undefined : `${what}: ${describeErrno(errno)}`;
}

/**
 * Asks for sockets of a family in no state, so that the list is empty: only whether the kernel knows the request
 * matters.
 */
function askDiag(fd: Fd, family: number, protocol: number): Answer {
  const request = new Uint8Array(56); // struct inet_diag_req_v2; that for unix sockets is shorter
  request[0] = family;
  request[1] = protocol;
  return converse(fd.number, message(SOCK_DIAG_BY_FAMILY, NLM_F.DUMP, request));
}

export const sockDiag: Probe = () => {
  using fd = openNetlink(NETLINK.SOCK_DIAG);
  const unix = refused(askDiag(fd, AF.UNIX, 0), 'sock_diag of unix sockets');
  return unix ?? refused(askDiag(fd, AF.INET, IPPROTO.TCP), 'sock_diag of TCP sockets');
};

/**
 * A kernel without the module (ENOENT) counts as one that has the feature, for CRIU as for Stasis: all state of a raw
 * socket can be read through its descriptor. Only another error means that the feature is missing.
 */
export const rawDiag: Probe = () => {
  using fd = openNetlink(NETLINK.SOCK_DIAG);
  return rawRefusal(fd, AF.INET) ?? rawRefusal(fd, AF.INET6);
};

function rawRefusal(fd: Fd, family: number): string | undefined {
  const answer = askDiag(fd, family, IPPROTO.RAW);
  return answer.errno === ERRNO.ENOENT ? undefined : refused(answer, `sock_diag of raw sockets, family ${family}`);
}

const RTM = { NEWLINK: 16, GETLINK: 18, SETLINK: 19, GETNSID: 90 } as const;
const IFLA = { IFNAME: 3, LINKINFO: 18, NET_NS_FD: 28, LINK_NETNSID: 37, NEW_IFINDEX: 49 } as const;
const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
const VETH_INFO_PEER = 1;
const NETNSA_PID = 2;
/** struct ifinfomsg, empty. */
const noInterface = (): Uint8Array => new Uint8Array(16);

export const networkId: Probe = () => {
  using fd = openNetlink(NETLINK.ROUTE);
  const request = message(RTM.GETNSID, NLM_F.ACK, new Uint8Array(4), attribute(NETNSA_PID, u32(process.pid)));
  return refused(converse(fd.number, request), 'RTM_GETNSID');
};

/**
 * A kernel that knows the attribute refuses a negative number (ERANGE) before it looks for the interface, which does
 * not exist (ENODEV).
 */
export const newInterfaceIndex: Probe = () => {
  using fd = openNetlink(NETLINK.ROUTE);
  const index = attribute(IFLA.NEW_IFINDEX, u32(0xffff_ffff));
  const name = attribute(IFLA.IFNAME, text('stasis-none'));
  const { errno } = converse(fd.number, message(RTM.SETLINK, NLM_F.ACK, noInterface(), index, name));
  return errno === ERRNO.ERANGE ? undefined : `RTM_SETLINK: ${describeErrno(errno)}`;
};

/** Makes a network namespace in a throw-away process, and a netlink socket in it. */
function isolatedSocket(seed: Seed, protocol: number): Fd {
  const { program, built } = ask(seed, (p) => {
    p.call('unshare', CLONE.NEWNET);
    return p.call('socket', AF.NETLINK, SOCK.RAW, protocol);
  });
  return borrow(seed, program.result(built));
}

/** For a veth pair across two network namespaces, one end shows in which namespace the other is. */
export const linkNetworkId: Probe = () =>
  inThrowaway((seed) => {
    ask(seed, (p) => p.call('unshare', CLONE.NEWNET));
    using other = new Fd(
      syscall('openat', AT.FDCWD, arenaPath(`/proc/${seed.tracee.pid}/ns/net`), O.RDONLY | O.CLOEXEC),
    );
    using fd = isolatedSocket(seed, NETLINK.ROUTE);
    const peer = attribute(VETH_INFO_PEER, noInterface(), attribute(IFLA.NET_NS_FD, u32(other.number)));
    const info = attribute(IFLA.LINKINFO, attribute(IFLA_INFO.KIND, text('veth')), attribute(IFLA_INFO.DATA, peer));
    const name = attribute(IFLA.IFNAME, text('veth0'));
    const made = converse(fd.number, message(RTM.NEWLINK, NLM_F.ACK | NLM_F.CREATE, noInterface(), name, info));
    if (made.errno !== 0) return refused(made, 'a veth pair');
    const links = converse(fd.number, message(RTM.GETLINK, NLM_F.DUMP, noInterface()));
    const told = links.messages.some(({ payload }) => attributeTypes(payload, 16).includes(IFLA.LINK_NETNSID));
    return told ? undefined : 'the kernel does not tell in which namespace the other end of a link is';
  });

const NFNL_SUBSYS_NFTABLES = 10 << 8;
const NFT_MSG = { NEWTABLE: NFNL_SUBSYS_NFTABLES, NEWSET: NFNL_SUBSYS_NFTABLES | 9, GETGEN: NFNL_SUBSYS_NFTABLES | 16 };
const NFNL_BATCH = { BEGIN: 0x10, END: 0x11 } as const;
const NFPROTO_INET = 1;
const nfgenmsg = (family: number, resource = 0): Uint8Array => Uint8Array.of(family, 0, resource >> 8, resource & 255);

export const nftables: Probe = () => {
  using fd = openNetlink(NETLINK.NETFILTER);
  return refused(converse(fd.number, message(NFT_MSG.GETGEN, 0, nfgenmsg(0))), 'nf_tables');
};

/** nf_tables accepts a set whose keys combine address and port; tried in a network namespace of its own. */
export const nftablesLock: Probe = () =>
  inThrowaway((seed) => {
    using fd = isolatedSocket(seed, NETLINK.NETFILTER);
    const batch = (type: number): Uint8Array => message(type, 0, nfgenmsg(0, 10));
    const table = message(
      NFT_MSG.NEWTABLE,
      NLM_F.ACK | NLM_F.CREATE,
      nfgenmsg(NFPROTO_INET),
      attribute(1, text('stasis')),
    );
    const set = message(NFT_MSG.NEWSET, NLM_F.ACK | NLM_F.CREATE, nfgenmsg(NFPROTO_INET), ...pairSet());
    const made = converse(fd.number, batch(NFNL_BATCH.BEGIN), table, set, batch(NFNL_BATCH.END));
    return refused(made, 'an nf_tables set of pairs');
  });

/** Attributes of NEWSET (enum nft_set_attributes): keys of two fields of four bytes. */
function pairSet(): Uint8Array[] {
  const NFT_SET_CONCAT = 0x80;
  const field = attribute(1 | NLA_F_NESTED, attribute(1, be32(4)));
  const fields = attribute(2 | NLA_F_NESTED, field, field);
  return [
    attribute(1, text('stasis')),
    attribute(2, text('pairs')),
    attribute(3, be32(NFT_SET_CONCAT)),
    attribute(4, be32(0)),
    attribute(5, be32(8)),
    attribute(9 | NLA_F_NESTED, fields),
    attribute(10, be32(1)),
  ];
}

/** Whether there is an iptables-save for the legacy tables, for each IP version in use. */
export const legacyIptables: Probe = () => legacyTool('iptables') ?? (hasIpv6() ? legacyTool('ip6tables') : undefined);

function legacyTool(name: string): string | undefined {
  const found = [`${name}-save`, `${name}-legacy-save`].some((tool) => {
    const { status, stdout } = spawnSync(tool, ['-V'], { encoding: 'utf8', timeout: 5000 });
    return status === 0 && !stdout.includes('nf_tables');
  });
  return found ? undefined : `there is no ${name}-save for the legacy tables`;
}

/** Whether IPv6 is enabled in the running kernel. */
export function hasIpv6(): boolean {
  return existsSync('/proc/sys/net/ipv6');
}
