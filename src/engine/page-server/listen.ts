/** Where a page server waits for its one connection. */

import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logInfo } from '../../base/log.ts';
import { SO, SOCK } from '../../kernel/constants/sockets.ts';
import { decodeSocketAddress, showSocketAddress } from '../../kernel/socket-address.ts';
import { setNumber } from '../../kernel/sockets.ts';
import {
  arena,
  arenaAddress,
  arenaView,
  describeErrno,
  ERRNO,
  Fd,
  SyscallError,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';

/** Room for any address. */
const ROOM = 128;
/** Offset of an address in the arena; its length is at offset 0. */
const AT = 16;

/** A socket that listens at a `struct sockaddr` of IP. @throws StasisError */
export function listenForPages(address: Uint8Array): Fd {
  const family = new DataView(address.buffer, address.byteOffset).getUint16(0, true);
  const socket = new Fd(syscall('socket', family, SOCK.STREAM | SOCK.CLOEXEC, 0));
  try {
    setNumber(socket.number, SO.REUSEADDR, 1);
    const bound = trySyscall('bind', socket.number, address, address.length);
    if (bound < 0) throw unreachable(address, bound);
    const listening = trySyscall('listen', socket.number, 1);
    if (listening < 0) throw unreachable(address, listening);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

function unreachable(address: Uint8Array, result: number): StasisError {
  const known = decodeSocketAddress(address);
  return new StasisError({
    kind: 'conflict',
    code: 'PAGE_SERVER_UNREACHABLE',
    resource: known ? showSocketAddress(known) : 'the address',
    reason: `no page server can listen there: ${describeErrno(result)}`,
    remedy: result === -ERRNO.EADDRINUSE ? 'choose another --port, or 0 for any' : 'choose another --address or --port',
  });
}

/** Where a socket is bound: as people write it, and the port. */
export function placeOfSocket(socket: LocalFd): { readonly name: string; readonly port: number } {
  return placeBy('getsockname', socket);
}

function placeBy(
  call: 'getsockname' | 'getpeername',
  socket: LocalFd,
): { readonly name: string; readonly port: number } {
  arenaView.setUint32(0, ROOM, true);
  const got = trySyscall(call, socket, arenaAddress + AT, arenaAddress);
  const address = got < 0 ? undefined : decodeSocketAddress(arena.slice(AT, AT + arenaView.getUint32(0, true)));
  if (!address) return { name: `descriptor ${socket}`, port: 0 };
  return { name: showSocketAddress(address), port: 'port' in address ? address.port : 0 };
}

/** Waits for a connection. @throws StasisError; InterruptedError */
export function acceptPages(listener: Fd): { readonly connection: Fd; readonly from: string } {
  for (;;) {
    requireUninterrupted();
    const accepted = trySyscall('accept4', listener.number, 0, 0, SOCK.CLOEXEC);
    if (accepted >= 0) {
      const connection = new Fd(accepted);
      const { name } = placeBy('getpeername', connection.number);
      logInfo(`${name} has connected`);
      return { connection, from: name };
    }
    if (accepted !== -ERRNO.EINTR && accepted !== -ERRNO.ECONNABORTED) throw new SyscallError('accept4', -accepted);
  }
}
