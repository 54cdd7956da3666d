/** TCP: sockets that listen, or were never connected. */
import type { LocalFd } from '../../../base/brands.ts';
import type { StasisError } from '../../../base/errors.ts';
import { TCP, TCP_STATE } from '../../../kernel/constants/inet.ts';
import { IPPROTO, SOCK } from '../../../kernel/constants/sockets.ts';
import { TcpInfo } from '../../../kernel/layouts/inet.ts';
import { decodeSocketAddress, showSocketAddress } from '../../../kernel/socket-address.ts';
import { rawAddress } from '../../../kernel/socket-facts.ts';
import { getOption } from '../../../kernel/sockets.ts';
import { syscall } from '../../../kernel/syscall.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import type { InetProtocol, InetSocket } from './protocol.ts';
import { captureTcpOptions, restoreTcpOptions } from './tcp-options.ts';

export const tcp: InetProtocol = {
  handles: (type, protocol) => type === SOCK.STREAM && protocol === IPPROTO.TCP,

  obstacle(socket) {
    const info = tcpInfo(socket.local);
    if (info.state === TCP_STATE.LISTEN) return inFlight(socket, info);
    const peer = rawAddress('getpeername', socket.local);
    if (info.state === TCP_STATE.CLOSE && !peer) return undefined;
    const address = peer && decodeSocketAddress(peer);
    return fileObstacle(
      socket.file,
      'SOCKET_TCP',
      'connections of TCP are not carried yet',
      address && `end the connection with ${showSocketAddress(address)} before the dump`,
    );
  },

  capture({ local }) {
    const { state, sacked } = tcpInfo(local);
    const backlog = state === TCP_STATE.LISTEN ? sacked : 0;
    return { entry: { state, backlog, tcp_opts: captureTcpOptions(local) } };
  },

  open({ entry, local }) {
    if (entry.tcp_opts) restoreTcpOptions(local, entry.tcp_opts);
    if (entry.state === TCP_STATE.LISTEN) syscall('listen', local, entry.backlog);
  },
};

/** What the kernel tells of a TCP socket. @throws SyscallError */
function tcpInfo(local: LocalFd): TcpInfo {
  return TcpInfo.decode(getOption(local, TCP.INFO, TcpInfo.size, IPPROTO.TCP));
}

/** Connections that nobody has accepted yet have no descriptor. */
function inFlight({ file }: InetSocket, { unacked }: TcpInfo): StasisError | undefined {
  if (unacked === 0) return undefined;
  const what = unacked === 1 ? '1 connection waits' : `${unacked} connections wait`;
  return fileObstacle(file, 'SOCKET_TCP', `${what} to be accepted`, 'dump it when the server has accepted them');
}
