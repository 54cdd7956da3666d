/** Where a page server waits for its one connection. */

import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logInfo } from '../../base/log.ts';
import { Part } from '../../base/part.ts';
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
import type { TlsOptions } from '../../support/transport/tls.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';

const TLS = new Part(
  () => require('../../support/transport/tls.ts') as typeof import('../../support/transport/tls.ts'),
);

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

/** A connection with whoever sends, or asks for, pages. */
export interface AcceptedPages extends Disposable {
  readonly socket: LocalFd;
  /** Who it is, for errors. */
  readonly from: string;
  readonly whyEnded?: (() => StasisError | undefined) | undefined;
}

/** Waits for a connection, and speaks TLS on it if that is wanted. @throws StasisError; InterruptedError */
export function acceptPages(listener: Fd, tls?: TlsOptions): AcceptedPages {
  const { connection, from } = acceptPlain(listener);
  if (!tls) return { socket: connection.number, from, [Symbol.dispose]: () => connection[Symbol.dispose]() };
  using _ = connection;
  return withTls(connection.number, from, tls);
}

/** The same for a connection that is there already, which stays open. @throws StasisError */
export function givenPages(socket: LocalFd, from: string, tls?: TlsOptions): AcceptedPages {
  return tls ? withTls(socket, from, tls) : { socket, from, [Symbol.dispose]: () => {} };
}

function withTls(socket: LocalFd, from: string, tls: TlsOptions): AcceptedPages {
  const transport = TLS.load().overTls(socket, 'server', tls, from);
  logInfo(`${from} speaks TLS, and is ${transport.peer}`);
  return {
    socket: transport.socket,
    from,
    whyEnded: () => transport.whyEnded(),
    [Symbol.dispose]: () => transport[Symbol.dispose](),
  };
}

/** Waits for a connection. @throws StasisError; InterruptedError */
export function acceptPlain(listener: Fd): { readonly connection: Fd; readonly from: string } {
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
