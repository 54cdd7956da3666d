/** What rtnetlink tells of tun and tap devices (tun_fill_info() in drivers/net/tun.c). */
import { cstring } from '../../base/text.ts';
import { NETLINK } from '../constants/netlink.ts';
import { IFLA, IFLA_INFO, IFLA_TUN, RTM } from '../constants/rtnetlink.ts';
import { Ifinfomsg } from '../layouts/rtnetlink.ts';
import { decodeAttributes, withAttributes } from './attributes.ts';
import { NetlinkSocket } from './socket.ts';

/**
 * Whether the packets of a device of our network namespace begin with `struct tun_pi`, that is, IFF_NO_PI is not set;
 * undefined if the kernel does not tell (before 4.20). @throws NetlinkError
 */
export function hasPacketInformation(device: string): boolean | undefined {
  using socket = new NetlinkSocket(NETLINK.ROUTE, `network device ${device}`);
  const request = withAttributes(Ifinfomsg.encode({}), [[IFLA.IFNAME, cstring(device)]]);
  const [answer] = socket.request(RTM.GETLINK, request);
  let value = answer?.payload.subarray(Ifinfomsg.size);
  for (const type of [IFLA.LINKINFO, IFLA_INFO.DATA, IFLA_TUN.PI]) value = value && decodeAttributes(value).get(type);
  return value && value[0] !== 0;
}
