/** IP_FREEBIND and IPV6_FREEBIND. */
import type { LocalFd } from '../base/brands.ts';
import { IP, IPV6 } from '../kernel/constants/inet.ts';
import { AF, IPPROTO } from '../kernel/constants/sockets.ts';
import { trySetNumber } from '../kernel/sockets.ts';

/** Allows a socket to be bound to an address that is not there (yet). Returns 0, or -errno. */
export function allowFreebind(local: LocalFd, family: number, on: boolean): number {
  return family === AF.INET6
    ? trySetNumber(local, IPV6.FREEBIND, +on, IPPROTO.IPV6)
    : trySetNumber(local, IP.FREEBIND, +on, IPPROTO.IP);
}
