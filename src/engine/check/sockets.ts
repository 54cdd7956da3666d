/** Probes for features of sockets: state that can be read and restored. */
import { encodeText } from '../../base/text.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { IPV6, TCP } from '../../kernel/constants/inet.ts';
import {
  AF,
  IFF_UP,
  IFNAMSIZ,
  IPPROTO,
  SHUT,
  SIOCGSKNS,
  SIOCSIFFLAGS,
  SIOCUNIXFILE,
  SO,
  SOCK,
  SOL_SOCKET,
} from '../../kernel/constants/sockets.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { TUN_IOCTL } from '../../kernel/constants/tun.ts';
import { RepairWindow } from '../../kernel/layouts/inet.ts';
import { Ifreq } from '../../kernel/layouts/sockets.ts';
import { arena, arenaAddress, arenaPath, arenaView, ERRNO, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { type Probe, refusal } from './feature.ts';
import { ask, borrow, inThrowaway } from './throwaway.ts';

function socket(family: number, type: number, protocol = 0): Fd {
  return new Fd(syscall('socket', family, type | O.CLOEXEC, protocol));
}

/** A TCP socket of IPv4 or, without that, IPv6. */
function tcpSocket(): Fd {
  const inet = trySyscall('socket', AF.INET, SOCK.STREAM | O.CLOEXEC, 0);
  return inet >= 0 ? new Fd(inet) : socket(AF.INET6, SOCK.STREAM);
}

/** getsockopt(2) into the start of the arena; the length of the option is at the end of the arena. */
function getOption(fd: Fd, level: number, option: number, size: number): number {
  const lengthAt = arena.length - 8;
  arenaView.setUint32(lengthAt, size, true);
  return trySyscall('getsockopt', fd.number, level, option, arenaAddress, arenaAddress + lengthAt);
}

function setOption(fd: Fd, level: number, option: number, value: number): number {
  arenaView.setInt32(0, value, true);
  return trySyscall('setsockopt', fd.number, level, option, arenaAddress, 4);
}

export const peekOffset: Probe = () => {
  using fd = socket(AF.UNIX, SOCK.DGRAM);
  const result = getOption(fd, SOL_SOCKET, SO.PEEK_OFF, 4);
  if (result < 0) return refusal('getsockopt', result);
  return arenaView.getInt32(0, true) === -1 ? undefined : 'SO_PEEK_OFF of a fresh socket is not -1';
};

export const readableOptions: Probe = () => {
  using fd = socket(AF.INET, SOCK.DGRAM);
  const filter = getOption(fd, SOL_SOCKET, SO.ATTACH_FILTER, 0);
  return refusal('getsockopt', filter) ?? refusal('getsockopt', getOption(fd, SOL_SOCKET, SO.BINDTODEVICE, IFNAMSIZ));
};

export const tcpRepair: Probe = () => {
  using fd = tcpSocket();
  const repair = setOption(fd, IPPROTO.TCP, TCP.REPAIR, 1);
  return refusal('setsockopt', repair) ?? refusal('getsockopt', getOption(fd, IPPROTO.TCP, TCP.TIMESTAMP, 4));
};

export const tcpWindow: Probe = () => {
  using fd = tcpSocket();
  const repair = setOption(fd, IPPROTO.TCP, TCP.REPAIR, 1);
  return (
    refusal('setsockopt', repair) ??
    refusal('getsockopt', getOption(fd, IPPROTO.TCP, TCP.REPAIR_WINDOW, RepairWindow.size))
  );
};

/** Makes a TCP connection over a loopback device in its own namespace, shuts down one direction, and repairs it. */
export const tcpHalfClosed: Probe = () =>
  inThrowaway((seed) => {
    const { program, built } = ask(seed, (p) => {
      p.call('unshare', CLONE.NEWNET);
      return [0, 1].map(() => p.call('socket', AF.INET, SOCK.STREAM, IPPROTO.TCP));
    });
    const [first = -1, second = -1] = built.map((ref) => program.result(ref));
    using listener = borrow(seed, first);
    using client = borrow(seed, second);
    switchOn(listener, 'lo');
    // struct sockaddr_in: 127.0.0.1, any port
    arena.fill(0, 0, 16);
    arenaView.setUint16(0, AF.INET, true);
    arena.set([127, 0, 0, 1], 4);
    syscall('bind', listener.number, arenaAddress, 16);
    syscall('listen', listener.number, 1);
    arenaView.setUint32(16, 16, true);
    syscall('getsockname', listener.number, arenaAddress, arenaAddress + 16);
    syscall('connect', client.number, arenaAddress, 16);
    syscall('shutdown', client.number, SHUT.WR);
    return refusal('setsockopt', setOption(client, IPPROTO.TCP, TCP.REPAIR, 1));
  });

/** Sets an interface up. */
function switchOn(fd: Fd, name: string): void {
  const flags = new Uint8Array(new Uint16Array([IFF_UP]).buffer);
  Ifreq.encodeInto(arena, 0, { name: encodeText(name), value: flags });
  syscall('ioctl', fd.number, SIOCSIFFLAGS, arenaAddress);
}

export const bufferLock: Probe = () => {
  using fd = tcpSocket();
  return refusal('getsockopt', getOption(fd, SOL_SOCKET, SO.BUF_LOCK, 4));
};

export const ipv6FreeBind: Probe = () => {
  using fd = socket(AF.INET6, SOCK.DGRAM);
  return refusal('setsockopt', setOption(fd, IPPROTO.IPV6, IPV6.FREEBIND, 1));
};

/** Calls an ioctl(2) that returns a descriptor, and closes that. */
function descriptorIoctl(fd: Fd, request: number): number {
  const answer = trySyscall('ioctl', fd.number, request, 0);
  if (answer >= 0) trySyscall('close', answer);
  return answer;
}

export const socketNamespace: Probe = () => {
  using fd = socket(AF.UNIX, SOCK.DGRAM);
  return refusal('ioctl', descriptorIoctl(fd, SIOCGSKNS));
};

/** A socket without a name has no file, so a kernel that knows SIOCUNIXFILE answers ENOENT. */
export const unixSocketFile: Probe = () => {
  using fd = socket(AF.UNIX, SOCK.DGRAM);
  const result = descriptorIoctl(fd, SIOCUNIXFILE);
  return result === -ERRNO.ENOENT ? undefined : refusal('ioctl', result);
};

function tunDevice(): number {
  return trySyscall('openat', AT.FDCWD, arenaPath('/dev/net/tun'), O.RDWR | O.CLOEXEC);
}

/** Whether there is the device /dev/net/tun. */
export function hasTun(): boolean {
  const opened = tunDevice();
  if (opened >= 0) trySyscall('close', opened);
  return opened >= 0;
}

/** Requests an interface index on a descriptor that never becomes an interface. */
export const tun: Probe = () => {
  const opened = tunDevice();
  if (opened < 0) return `/dev/net/tun: ${refusal('openat', opened)}`;
  using fd = new Fd(opened);
  arenaView.setInt32(0, 13, true);
  return refusal('ioctl', trySyscall('ioctl', fd.number, TUN_IOCTL.TUNSETIFINDEX, arenaAddress));
};

export const tunNamespace: Probe = () => {
  const opened = tunDevice();
  if (opened < 0) return `/dev/net/tun: ${refusal('openat', opened)}`;
  using fd = new Fd(opened);
  return refusal('ioctl', descriptorIoctl(fd, SIOCGSKNS));
};
