/** Socket options and socket pairs. */
import type { LocalFd } from '../base/brands.ts';
import { MSG, SCM_MAX_FD, SO, SOCK, SOL_SOCKET } from './constants/sockets.ts';
import { Pins } from './ffi.ts';
import { decodeControl, Linger, Msghdr, rightsSpace, Ucred } from './layouts/sockets.ts';
import { Timeval } from './layouts/time.ts';
import { arena, arenaAddress, arenaView, ERRNO, Fd, SyscallError, syscall, trySyscall } from './syscall.ts';

/** Offset of the option's value in the arena; its length is at offset 0. */
const AT = 16;

/**
 * The value of an option, at most `room` bytes. Its level is SOL_SOCKET, or that of a protocol ({@link IPPROTO}).
 * @throws SyscallError
 */
export function getOption(local: LocalFd, name: number, room: number, level: number = SOL_SOCKET): Uint8Array {
  arenaView.setUint32(0, room, true);
  syscall('getsockopt', local, level, name, arenaAddress + AT, arenaAddress);
  return arena.slice(AT, AT + arenaView.getUint32(0, true));
}

/** As {@link getOption}; undefined if the kernel refuses. */
export function getOptionIfAny(
  local: LocalFd,
  name: number,
  room: number,
  level: number = SOL_SOCKET,
): Uint8Array | undefined {
  arena.fill(0, AT, AT + room); // some options read before they answer
  arenaView.setUint32(0, room, true);
  const result = trySyscall('getsockopt', local, level, name, arenaAddress + AT, arenaAddress);
  return result < 0 ? undefined : arena.slice(AT, AT + arenaView.getUint32(0, true));
}

/** The answer to a question that an option is asked; undefined if the kernel refuses. */
export function askOption(
  local: LocalFd,
  name: number,
  question: Uint8Array,
  level: number = SOL_SOCKET,
): Uint8Array | undefined {
  arena.set(question, AT);
  arenaView.setUint32(0, question.length, true);
  const result = trySyscall('getsockopt', local, level, name, arenaAddress + AT, arenaAddress);
  return result < 0 ? undefined : arena.slice(AT, AT + question.length);
}

/** The value of an option that is an int. @throws SyscallError */
export function getNumber(local: LocalFd, name: number, level: number = SOL_SOCKET): number {
  arenaView.setUint32(0, 4, true);
  syscall('getsockopt', local, level, name, arenaAddress + AT, arenaAddress);
  return arenaView.getInt32(AT, true);
}

/** As {@link getNumber}; undefined where the kernel, or this family of sockets, has no such option. */
export function getNumberIfAny(local: LocalFd, name: number, level: number = SOL_SOCKET): number | undefined {
  arenaView.setUint32(0, 4, true);
  const result = trySyscall('getsockopt', local, level, name, arenaAddress + AT, arenaAddress);
  return result < 0 ? undefined : arenaView.getInt32(AT, true);
}

/** @throws SyscallError */
export function setOption(local: LocalFd, name: number, value: Uint8Array, level: number = SOL_SOCKET): void {
  orThrow(trySyscall('setsockopt', local, level, name, value, value.length), name, level);
}

/** @throws SyscallError */
export function setNumber(local: LocalFd, name: number, value: number, level: number = SOL_SOCKET): void {
  orThrow(trySetNumber(local, name, value, level), name, level);
}

/** As {@link setNumber}. Returns 0, or -errno. */
export function trySetNumber(local: LocalFd, name: number, value: number, level: number = SOL_SOCKET): number {
  arenaView.setInt32(0, value | 0, true);
  return trySyscall('setsockopt', local, level, name, arenaAddress, 4);
}

/**
 * As {@link setNumber}, for an option that another kernel may not have or not allow. Returns whether it is set.
 * @throws SyscallError for any other reason
 */
export function setNumberIfAllowed(local: LocalFd, name: number, value: number, level: number): boolean {
  const result = trySetNumber(local, name, value, level);
  if (NOT_HERE.has(-result)) return false;
  orThrow(result, name, level);
  return true;
}

const NOT_HERE: ReadonlySet<number> = new Set([
  ERRNO.ENOPROTOOPT,
  ERRNO.EOPNOTSUPP,
  ERRNO.EINVAL,
  ERRNO.EPERM,
  ERRNO.ENOENT,
]);

function orThrow(result: number, name: number, level: number): void {
  if (result < 0) throw new SyscallError('setsockopt', -result, { resource: `option ${name} of level ${level}` });
}

/** A time limit: {@link SO}.RCVTIMEO or SNDTIMEO; zero for none. */
export function getTime(local: LocalFd, name: number): { sec: bigint; usec: bigint } {
  return Timeval.decode(getOption(local, name, Timeval.size));
}

/** @throws SyscallError */
export function setTime(local: LocalFd, name: number, time: { sec: bigint; usec: bigint }): void {
  setOption(local, name, Timeval.encode(time));
}

/**
 * What close(2) does with bytes that are not sent yet: waits some seconds for them (SO_LINGER), with 0 throws them away
 * and resets the connection; undefined for the usual, which is to send them in the background.
 * @throws SyscallError
 */
export function setLinger(local: LocalFd, seconds: number | undefined): void {
  setOption(local, SO.LINGER, Linger.encode({ on: seconds === undefined ? 0 : 1, seconds: seconds ?? 0 }));
}

/** The credentials of the peer as the kernel recorded them when the pair was made or connected. @throws SyscallError */
export function peerCredentials(local: LocalFd): Ucred {
  return Ucred.decode(getOption(local, SO.PEERCRED, Ucred.size));
}

/**
 * Instructions of the filter a socket has (struct sock_filter, 8 bytes each); none if it has none.
 * @throws SyscallError (EACCES) if it is an eBPF program, which the kernel does not give
 */
export function getFilter(local: LocalFd): Uint8Array {
  // For SO_ATTACH_FILTER (SO_GET_FILTER) the length counts instructions, not bytes.
  arenaView.setUint32(0, 0, true);
  syscall('getsockopt', local, SOL_SOCKET, SO.ATTACH_FILTER, 0, arenaAddress);
  const count = arenaView.getUint32(0, true);
  if (count === 0) return new Uint8Array();
  const code = new Uint8Array(8 * count);
  syscall('getsockopt', local, SOL_SOCKET, SO.ATTACH_FILTER, code, arenaAddress);
  return code;
}

/** Whether a socket has a filter that {@link getFilter} cannot get. */
export function hasOpaqueFilter(local: LocalFd): boolean {
  arenaView.setUint32(0, 0, true);
  return trySyscall('getsockopt', local, SOL_SOCKET, SO.ATTACH_FILTER, 0, arenaAddress) === -ERRNO.EACCES;
}

/** @throws SyscallError */
export function attachFilter(local: LocalFd, code: Uint8Array): void {
  using pins = new Pins();
  // struct sock_fprog
  const program = new BigUint64Array([BigInt(code.length / 8), BigInt(pins.address(code))]);
  setOption(local, SO.ATTACH_FILTER, new Uint8Array(program.buffer));
}

/**
 * Sends a message with control data (layouts/sockets.ts, encodeControl()), to `address` if the socket is not connected.
 * `flags` are {@link MSG}'s. Returns the number of bytes sent, or -errno.
 */
export function trySendMessage(
  local: LocalFd,
  bytes: Uint8Array,
  control: Uint8Array,
  flags: number,
  address?: Uint8Array,
): number {
  // Most messages need no struct for that, and queues have thousands.
  if (control.length === 0) {
    return trySyscall('sendto', local, bytes, bytes.length, flags, address ?? 0, address?.length ?? 0);
  }
  using pins = new Pins();
  const iov = new BigUint64Array([BigInt(pins.address(bytes)), BigInt(bytes.length)]);
  const header = Msghdr.encode({
    ...(address ? { name: BigInt(pins.address(address)), nameLength: address.length } : {}),
    iov: BigInt(pins.address(iov)),
    iovLength: 1n,
    control: BigInt(pins.address(control)),
    controlLength: BigInt(control.length),
  });
  return trySyscall('sendmsg', local, header, flags);
}

/** Receives one byte, and the descriptors that come with it, which are closed on exec. @throws SyscallError */
export function receiveRights(local: LocalFd): readonly number[] {
  using pins = new Pins();
  const control = new Uint8Array(rightsSpace(SCM_MAX_FD));
  const iov = new BigUint64Array([BigInt(pins.address(new Uint8Array(1))), 1n]);
  const header = Msghdr.encode({
    iov: BigInt(pins.address(iov)),
    iovLength: 1n,
    control: BigInt(pins.address(control)),
    controlLength: BigInt(control.length),
  });
  syscall('recvmsg', local, header, MSG.CMSG_CLOEXEC);
  return decodeControl(control.subarray(0, Number(Msghdr.decode(header).controlLength))).rights;
}

/** A pair of connected unix sockets, closed on exec. @throws SyscallError */
export function socketPair(family: number, type: number): readonly [Fd, Fd] {
  syscall('socketpair', family, type | SOCK.CLOEXEC, 0, arenaAddress);
  return [new Fd(arenaView.getInt32(0, true)), new Fd(arenaView.getInt32(4, true))];
}

/**
 * A function that returns the family of the socket behind one of our descriptors, asking the kernel at the first call;
 * undefined for other files.
 */
export function domainOf(local: LocalFd, link: string): () => number | undefined {
  if (!link.startsWith('socket:[')) return () => undefined;
  let domain: number | undefined;
  let known = false;
  return () => {
    if (!known) domain = getNumberIfAny(local, SO.DOMAIN);
    known = true;
    return domain;
  };
}
