/** Sockets of datagrams: UDP, UDPLite, ICMP, raw. */
import { victimSuite } from './kit/suite.ts';

/** Inode numbers are new ones. Whatever is bound to an address of IPv6 is IPV6_V6ONLY. */
const CHANGES = /\.isk\.(ino|v6only)$/;

victimSuite('datagrams', [{ victim: 'datagrams', images: [CHANGES] }]);
