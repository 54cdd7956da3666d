/** Options of TCP sockets: those CRIU's images have a place for, and those they lose. */
import type { LocalFd } from '../../../base/brands.ts';
import type { InputOf } from '../../../images/message.ts';
import type { TcpOptsEntry, tcpOptsEntry } from '../../../images/schema/sockets.ts';
import { TCP } from '../../../kernel/constants/inet.ts';
import { IPPROTO } from '../../../kernel/constants/sockets.ts';
import { getNumber, setNumber } from '../../../kernel/sockets.ts';

const KEPT = [
  ['cork', TCP.CORK],
  ['nodelay', TCP.NODELAY],
  ['keepcnt', TCP.KEEPCNT],
  ['keepidle', TCP.KEEPIDLE],
  ['keepintvl', TCP.KEEPINTVL],
] as const;

/** Reads the options CRIU's images have a place for. Those that are zero are left out, as CRIU does. */
export function captureTcpOptions(local: LocalFd): InputOf<typeof tcpOptsEntry> {
  const found: Record<string, number | boolean> = {};
  for (const [field, name] of KEPT) {
    const value = getNumber(local, name, IPPROTO.TCP);
    if (value !== 0) found[field] = field === 'cork' || field === 'nodelay' ? true : value;
  }
  return found;
}

/** Sets the options that {@link captureTcpOptions} reads. @throws SyscallError */
export function restoreTcpOptions(local: LocalFd, options: TcpOptsEntry): void {
  for (const [field, name] of KEPT) {
    const value = options[field];
    if (value !== undefined) setNumber(local, name, +value, IPPROTO.TCP);
  }
}
