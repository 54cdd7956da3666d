/** Network devices by name and by index (net/core/dev_ioctl.c). */

import type { LocalFd } from '../base/brands.ts';
import { decodeText } from '../base/text.ts';
import { IFNAMSIZ, SIOCGIFINDEX, SIOCGIFNAME } from '../kernel/constants/sockets.ts';
import { Ifreq } from '../kernel/layouts/sockets.ts';
import { arena, arenaAddress, arenaPath, arenaView, ERRNO, SyscallError, trySyscall } from '../kernel/syscall.ts';

/** The index of a device in the network namespace of one of our sockets; undefined if there is none of that name. */
export function deviceIndex(socket: LocalFd, name: string): number | undefined {
  if (name.length === 0 || name.length >= IFNAMSIZ) return undefined;
  arena.fill(0, 0, Ifreq.size);
  arenaPath(name);
  if (!isThere(socket, SIOCGIFINDEX)) return undefined;
  return arenaView.getInt32(IFNAMSIZ, true);
}

/** The name of a device in the network namespace of one of our sockets; undefined if there is none of that index. */
export function deviceName(socket: LocalFd, index: number): string | undefined {
  arena.fill(0, 0, Ifreq.size);
  arenaView.setInt32(IFNAMSIZ, index, true);
  if (!isThere(socket, SIOCGIFNAME)) return undefined;
  return decodeText(arena.subarray(0, arena.indexOf(0)));
}

/** Asks for the device that the arena names. False if there is none. @throws SyscallError for any other error */
function isThere(socket: LocalFd, request: number): boolean {
  const result = trySyscall('ioctl', socket, request, arenaAddress);
  if (result < 0 && result !== -ERRNO.ENODEV) throw new SyscallError('ioctl', -result);
  return result >= 0;
}
