/** Connections that the packet filters track, as the kernel tells them: messages of nfnetlink, as CRIU keeps them. */
import {
  CTA,
  CTA_PROTOINFO,
  CTA_PROTOINFO_TCP,
  IP_CT_TCP_FLAG_BE_LIBERAL,
  IPCTNL_MSG_CT,
  NFNL_SUBSYS_CTNETLINK,
  NFNL_SUBSYS_CTNETLINK_EXP,
} from '../../kernel/constants/conntrack.ts';
import { NETLINK, NLM_F } from '../../kernel/constants/netlink.ts';
import { Nfgenmsg } from '../../kernel/layouts/netlink.ts';
import { decodeAttributes } from '../../kernel/netlink/attributes.ts';
import type { NetlinkMessage } from '../../kernel/netlink/message.ts';
import { attributesOf } from '../../kernel/netlink/rtnetlink.ts';
import { NetlinkError, NetlinkSocket } from '../../kernel/netlink/socket.ts';
import { readSysctl } from './sysctls.ts';

/** What is tracked: connections, or those that are expected because of another one. */
export type Tracked = 'connections' | 'expectations';

const SUBSYSTEM: Readonly<Record<Tracked, number>> = {
  connections: NFNL_SUBSYS_CTNETLINK,
  expectations: NFNL_SUBSYS_CTNETLINK_EXP,
};

/** Whether something is tracked in a namespace, from inside of it; true where the kernel does not tell. */
function isTracking(): boolean {
  return readSysctl('netfilter/nf_conntrack_count') !== '0';
}

/**
 * All that is tracked in a namespace, from inside of it. Empty if the kernel cannot tell. For a list the kernel goes
 * through the table of the whole machine (20 ms for 262,144 buckets), so it is not asked for where nothing is tracked.
 */
export function readTracked(what: Tracked): NetlinkMessage[] {
  // What is expected is so because of a connection that is tracked.
  if (!isTracking()) return [];
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'tracked connections');
  try {
    return socket.list((SUBSYSTEM[what] << 8) | IPCTNL_MSG_CT.GET, Nfgenmsg.encode({}));
  } catch (error) {
    if (error instanceof NetlinkError) return [];
    throw error;
  }
}

/**
 * Makes entries again, from inside of the namespace. For the first packets sequence numbers of TCP are not checked,
 * since nobody knows the windows any more. Returns how many entries the kernel does not take as it has told them, such
 * as those of some protocols other than TCP and UDP (`ctnetlink_create_conntrack()`); their packets begin new entries.
 */
export function writeTracked(what: Tracked, messages: readonly NetlinkMessage[]): number {
  if (messages.length === 0) return 0;
  let refused = 0;
  using socket = new NetlinkSocket(NETLINK.NETFILTER, 'tracked connections');
  for (const { payload } of messages) {
    const request = what === 'connections' ? liberal(payload) : payload;
    try {
      socket.request((SUBSYSTEM[what] << 8) | IPCTNL_MSG_CT.NEW, request, NLM_F.CREATE);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      refused++;
    }
  }
  return refused;
}

/** The entry of a connection with the flag in both directions (`struct nf_ct_tcp_flags`: flags, mask). Pure. */
export function liberal(payload: Uint8Array): Uint8Array {
  const copy = payload.slice();
  const protocol = attributesOf(Nfgenmsg, copy).get(CTA.PROTOINFO);
  const tcp = protocol && decodeAttributes(protocol).get(CTA_PROTOINFO.TCP);
  const attributes = tcp && decodeAttributes(tcp);
  for (const type of [CTA_PROTOINFO_TCP.FLAGS_ORIGINAL, CTA_PROTOINFO_TCP.FLAGS_REPLY]) {
    const flags = attributes?.get(type); // a view of the copy
    if (!flags || flags.length < 2) continue;
    flags[0] = (flags[0] ?? 0) | IP_CT_TCP_FLAG_BE_LIBERAL;
    flags[1] = (flags[1] ?? 0) | IP_CT_TCP_FLAG_BE_LIBERAL;
  }
  return copy;
}
