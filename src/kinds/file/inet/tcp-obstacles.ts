/** Which sockets of TCP cannot be carried, and what can be done about it. */
import type { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import { decodeText } from '../../../base/text.ts';
import type { SeenTask } from '../../../contract/contract.ts';
import { TCP, TCP_STATE, TCPI_OPT } from '../../../kernel/constants/inet.ts';
import { IPPROTO, SO } from '../../../kernel/constants/sockets.ts';
import { getNumberIfAny, getOptionIfAny } from '../../../kernel/sockets.ts';
import { describeFile, fileObstacle } from '../../../support/fdinfo.ts';
import { sockaddrSize } from './address.ts';
import type { InetSocket } from './protocol.ts';
import { isConnected, tcpEvents, tcpInfo } from './tcp-state.ts';

/** Why a socket of TCP cannot be carried; undefined if it can. */
export function tcpObstacle(socket: InetSocket, { options }: SeenTask): StasisError | undefined {
  const { file, local } = socket;
  const info = tcpInfo(local);
  const { state } = info;
  if (state === TCP_STATE.LISTEN) {
    const { unacked } = info;
    if (unacked === 0 || options.skipInFlight) return undefined;
    const what = unacked === 1 ? '1 connection waits' : `${unacked} connections wait`;
    const remedy = 'dump it when the server has accepted them, or with --skip-in-flight, which loses them';
    return fileObstacle(file, 'SOCKET_TCP_PENDING', `${what} to be accepted`, remedy);
  }
  const isAlive = isConnected(state);
  if (!isAlive && state !== TCP_STATE.CLOSE) {
    return fileObstacle(file, 'SOCKET_TCP', 'the connection is being made', 'dump it when it is established');
  }
  if (isAlive && options.tcpClose) return undefined;
  if (isAlive && !options.tcpEstablished) {
    const remedy = '--tcp-established carries the connection, --tcp-close lets it go';
    return fileObstacle(file, 'SOCKET_TCP', 'it is a connection of TCP', remedy);
  }
  return stateObstacle(socket, isAlive);
}

/** State of a connection that cannot be made again. */
function stateObstacle({ file, local }: InetSocket, isAlive: boolean): StasisError | undefined {
  const { error, urgent } = tcpEvents(local);
  if (error && isAlive) {
    const remedy = 'have the program take it (SO_ERROR, or MSG_ERRQUEUE) before the dump';
    return fileObstacle(file, 'SOCKET_ERROR_PENDING', 'an error waits to be reported', remedy);
  }
  if (urgent) {
    return fileObstacle(file, 'SOCKET_OUT_OF_BAND', 'urgent data waits', 'have it received before the dump');
  }
  const protocol = isAlive ? upperProtocol(local) : '';
  if (protocol !== '') {
    const reason = `the kernel encrypts the connection or gives it structure (TCP_ULP ${protocol})`;
    return fileObstacle(
      file,
      'SOCKET_TCP_ULP',
      reason,
      'have the program do without it (OpenSSL: no KTLS), or use --tcp-close',
    );
  }
  if (getNumberIfAny(local, TCP.REPAIR, IPPROTO.TCP) === 1) {
    const reason =
      'somebody else has put it into repair mode (TCP_REPAIR), and has perhaps been killed before the end of it';
    return fileObstacle(file, 'SOCKET_TCP_REPAIR', reason, 'end the other checkpoint first');
  }
  return undefined;
}

/** What will be different although the socket is carried; undefined if nothing. */
export function tcpNotice({ file, local, family }: InetSocket, { options }: SeenTask): NoticeFacts | undefined {
  const { state, options: agreed } = tcpInfo(local);
  const resource = describeFile(file);
  const isAlive = isConnected(state);
  if (isAlive && options.tcpClose) {
    return { task: file.task, resource, reason: 'its connection is let go (--tcp-close)' };
  }
  if (isAlive && agreed & TCPI_OPT.ECN) {
    return { task: file.task, resource, reason: 'its connection goes on without ECN, which cannot be set' };
  }
  const wasConnected = state === TCP_STATE.CLOSE && getOptionIfAny(local, SO.PEERNAME, sockaddrSize(family));
  if (wasConnected && tcpEvents(local).error) {
    const reason = 'the error that waits to be reported is told as ECONNRESET or ECONNREFUSED, whatever it was';
    return { task: file.task, resource, reason };
  }
  return undefined;
}

/** The protocol above TCP in the kernel, as `tls`; empty for none. */
function upperProtocol(local: Parameters<typeof getOptionIfAny>[0]): string {
  const name = getOptionIfAny(local, TCP.ULP, 16, IPPROTO.TCP) ?? new Uint8Array();
  return decodeText(name.subarray(0, Math.max(name.indexOf(0), 0)));
}
