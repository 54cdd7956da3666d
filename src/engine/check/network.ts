/** Probes for features of the network, through netlink. Probes that change something run in namespaces of their own. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { AT, O } from '../../kernel/constants/files.ts';
import { NETLINK, NLM_F, SOCK_DIAG_BY_FAMILY } from '../../kernel/constants/netlink.ts';
import { NFT_TABLE_F } from '../../kernel/constants/nftables.ts';
import { IFLA, IFLA_INFO, NETNSA, RTM, VETH_INFO_PEER } from '../../kernel/constants/rtnetlink.ts';
import { AF, IPPROTO, SOCK } from '../../kernel/constants/sockets.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { InetDiagReq } from '../../kernel/layouts/netlink.ts';
import { Ifinfomsg, Rtgenmsg } from '../../kernel/layouts/rtnetlink.ts';
import {
  type Attributes,
  decodeAttributes,
  encodeAttributes,
  u32Bytes,
  withAttributes,
} from '../../kernel/netlink/attributes.ts';
import { NFT_TYPE, NftBatch, probeNftables } from '../../kernel/netlink/nftables.ts';
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts';
import { arenaPath, describeErrno, ERRNO, Fd, syscall } from '../../kernel/syscall.ts';
import type { Seed } from '../../tracee/seed.ts';
import type { Probe } from './feature.ts';
import { ask, borrow, inThrowaway } from './throwaway.ts';

/** The errno with which the kernel refuses what `work` asks for; 0 if it does not. */
function errnoOf(work: () => unknown): number {
  try {
    work();
    return 0;
  } catch (error) {
    if (error instanceof NetlinkError) return error.errno;
    throw error;
  }
}

/** What is wrong if the kernel refuses what `work` asks for. */
function refused(what: string, work: () => unknown): string | undefined {
  const errno = errnoOf(work);
  return errno === 0 ? undefined : `${what}: ${describeErrno(errno)}`;
}

/** Asks for sockets in no state, so that the list is empty: only whether the kernel knows the request matters. */
function askDiag(socket: NetlinkSocket, family: number, protocol: number): void {
  socket.list(SOCK_DIAG_BY_FAMILY, InetDiagReq.encode({ family, protocol })); // that for unix sockets is shorter
}

export const sockDiag: Probe = () => {
  using socket = new NetlinkSocket(NETLINK.SOCK_DIAG, 'sock_diag');
  return (
    refused('sock_diag of unix sockets', () => askDiag(socket, AF.UNIX, 0)) ??
    refused('sock_diag of TCP sockets', () => askDiag(socket, AF.INET, IPPROTO.TCP))
  );
};

/**
 * A kernel without the module (ENOENT) counts as one that has the feature, for CRIU as for Stasis: all state of a raw
 * socket can be read through its descriptor. Only another error means that the feature is missing.
 */
export const rawDiag: Probe = () => {
  using socket = new NetlinkSocket(NETLINK.SOCK_DIAG, 'sock_diag');
  return rawRefusal(socket, AF.INET) ?? rawRefusal(socket, AF.INET6);
};

function rawRefusal(socket: NetlinkSocket, family: number): string | undefined {
  const errno = errnoOf(() => askDiag(socket, family, IPPROTO.RAW));
  if (errno === 0 || errno === ERRNO.ENOENT) return undefined;
  return `sock_diag of raw sockets, family ${family}: ${describeErrno(errno)}`;
}

/** A request about a network device that its attributes describe. */
const aboutDevice = (...attributes: Attributes): Uint8Array => withAttributes(Ifinfomsg.encode({}), attributes);
const text = (value: string): Uint8Array => Buffer.from(`${value}\0`, 'latin1');

export const networkId: Probe = () => {
  using socket = new NetlinkSocket(NETLINK.ROUTE, 'rtnetlink');
  const request = withAttributes(Rtgenmsg.encode({}), [[NETNSA.PID, u32Bytes(process.pid)]]);
  return refused('RTM_GETNSID', () => socket.request(RTM.GETNSID, request));
};

/**
 * A kernel that knows the attribute refuses a negative number (ERANGE) before it looks for the interface, which does
 * not exist (ENODEV).
 */
export const newInterfaceIndex: Probe = () => {
  using socket = new NetlinkSocket(NETLINK.ROUTE, 'rtnetlink');
  const request = aboutDevice([IFLA.NEW_IFINDEX, u32Bytes(0xffff_ffff)], [IFLA.IFNAME, text('stasis-none')]);
  const errno = errnoOf(() => socket.request(RTM.SETLINK, request));
  return errno === ERRNO.ERANGE ? undefined : `RTM_SETLINK: ${describeErrno(errno)}`;
};

/** Makes a network namespace in a throw-away process, and a netlink socket in it. */
function isolatedSocket(seed: Seed, protocol: number, what: string): NetlinkSocket {
  const { program, built } = ask(seed, (p) => {
    p.call('unshare', CLONE.NEWNET);
    return p.call('socket', AF.NETLINK, SOCK.RAW, protocol);
  });
  return new NetlinkSocket(borrow(seed, program.result(built)), what);
}

/** For a veth pair across two network namespaces, one end shows in which namespace the other is. */
export const linkNetworkId: Probe = () =>
  inThrowaway((seed) => {
    ask(seed, (p) => p.call('unshare', CLONE.NEWNET));
    using other = new Fd(
      syscall('openat', AT.FDCWD, arenaPath(`/proc/${seed.tracee.pid}/ns/net`), O.RDONLY | O.CLOEXEC),
    );
    using socket = isolatedSocket(seed, NETLINK.ROUTE, 'rtnetlink');
    const peer = aboutDevice([IFLA.NET_NS_FD, u32Bytes(other.number)]);
    const data = encodeAttributes([[VETH_INFO_PEER, peer]]);
    const info = encodeAttributes([
      [IFLA_INFO.KIND, text('veth')],
      [IFLA_INFO.DATA, data],
    ]);
    const request = aboutDevice([IFLA.IFNAME, text('veth0')], [IFLA.LINKINFO, info]);
    const refusal = refused('a veth pair', () => socket.request(RTM.NEWLINK, request, NLM_F.CREATE));
    if (refusal) return refusal;
    const links = socket.list(RTM.GETLINK, aboutDevice());
    const told = links.some(({ payload }) => decodeAttributes(payload.subarray(Ifinfomsg.size)).has(IFLA.LINK_NETNSID));
    return told ? undefined : 'the kernel does not tell in which namespace the other end of a link is';
  });

export const nftables: Probe = () => {
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'nf_tables');
  return refused('nf_tables', () => probeNftables(socket));
};

/** nf_tables accepts a set whose keys combine address and port; tried in a network namespace of its own. */
export const nftablesLock: Probe = () =>
  inThrowaway((seed) => {
    using socket = isolatedSocket(seed, NETLINK.NETFILTER, 'nf_tables');
    const batch = new NftBatch().addTable('stasis', {}).addSet('stasis', 'pairs', [NFT_TYPE.IPV4, NFT_TYPE.PORT]);
    return refused('an nf_tables set of pairs', () => socket.transact(batch.messages()));
  });

/** nf_tables accepts a table that vanishes with the socket by which it was made; tried in a namespace of its own. */
export const nftablesOwner: Probe = () =>
  inThrowaway((seed) => {
    using socket = isolatedSocket(seed, NETLINK.NETFILTER, 'nf_tables');
    const batch = new NftBatch().addTable('stasis', { flags: NFT_TABLE_F.OWNER });
    return refused('an nf_tables table with an owner', () => socket.transact(batch.messages()));
  });

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
