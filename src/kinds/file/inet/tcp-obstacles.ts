/** Which sockets of TCP cannot be carried, and what can be done about it. */
import type { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import { decodeText } from '../../../base/text.ts';
import type { OpenFile, SeenTask, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { TCP, TCPI_OPT } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { signingSockets } from '../../../kernel/netlink/inet-diag.ts';
import { getNumberIfAny, getOptionIfAny, trySetNumber } from '../../../kernel/sockets.ts';
import { ERRNO, Fd, syscall } from '../../../kernel/syscall.ts';
import { networksOf } from '../../../namespaces/networks.ts';
import { sockaddrSize } from '../../../network/end-fields.ts';
import { isConnected, tcpEvents, tcpInfo } from '../../../network/tcp-state.ts';
import { describeFile, fileObstacle } from '../../../support/fdinfo.ts';
import type { InetSocket } from './protocol.ts';
import { isPlainEcn } from './tcp-ecn.ts';
import { queueObstacle } from './tcp-queue-obstacles.ts';

/** Why a socket of TCP cannot be carried; undefined if it can. */
export function tcpObstacle(socket: InetSocket, { options, tree }: SeenTask): StasisError | undefined {
  const { file, local } = socket;
  if (isSigned(file, tree)) {
    const reason = 'its segments are signed (TCP_MD5SIG, TCP_AO), and the kernel does not tell the keys';
    return fileObstacle(file, 'SOCKET_TCP_SIGNED', reason, 'have the program do without it, or close it');
  }
  const info = tcpInfo(local);
  const { state } = info;
  if (state === TCP_STATE.LISTEN) return queueObstacle(socket, info.unacked, tree);
  const isAlive = isConnected(state);
  if (socket.protocol === IPPROTO.MPTCP && (isAlive || wasConnected(socket))) {
    const remedy =
      'have the program do without it (Go: GODEBUG=multipathtcp=0), or turn it off: sysctl net.mptcp.enabled=0';
    return fileObstacle(file, 'SOCKET_MPTCP', 'a connection of MPTCP cannot be carried', remedy);
  }
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
export function tcpNotice(socket: InetSocket, { options, tree }: SeenTask): NoticeFacts | undefined {
  const { file, local } = socket;
  const { state, options: agreed } = tcpInfo(local);
  const resource = describeFile(file);
  const isAlive = isConnected(state);
  if (isAlive && options.tcpClose) {
    return { task: file.task, resource, reason: 'its connection is let go (--tcp-close)' };
  }
  if (isAlive && agreed & TCPI_OPT.ECN && !isPlainEcn(file, tree)) {
    const reason = 'its connection goes on without ECN: it may be AccECN (net.ipv4.tcp_ecn), which cannot be set';
    return { task: file.task, resource, reason };
  }
  if (state === TCP_STATE.CLOSE && wasConnected(socket) && tcpEvents(local).error) {
    const reason = 'the error that waits to be reported is told as ECONNRESET or ECONNREFUSED, whatever it was';
    return { task: file.task, resource, reason };
  }
  return undefined;
}

/** Whether a socket has, or had, a peer. */
export function wasConnected({ local, family }: InetSocket): boolean {
  return getOptionIfAny(local, SO.PEERNAME, sockaddrSize(family)) !== undefined;
}

/** Whether a socket has keys to sign its segments with. */
function isSigned({ local, stat }: OpenFile, tree: SeenTree): boolean {
  if (getOptionIfAny(local, TCP.AO_INFO, AO_INFO, IPPROTO.TCP) !== undefined) return true;
  return SIGNING.of(tree).has(stat.ino);
}

/** Size of `struct tcp_ao_info_opt`. */
const AO_INFO = 56;

/** The sockets that sign by MD5; of a kernel that cannot do that, nothing is asked. */
const SIGNING = new Slot((tree: SeenTree) => {
  using fd = new Fd(syscall('socket', AF.INET, SOCK.STREAM | SOCK.CLOEXEC, 0));
  // A value of this size is refused (EINVAL), and the option itself where the kernel does not have it.
  const isKnown = trySetNumber(fd.number, TCP.MD5SIG, 0, IPPROTO.TCP) !== -ERRNO.ENOPROTOOPT;
  if (!isKnown) return new Set<number>();
  return new Set(networksOf(tree).flatMap(({ within }) => [...within(signingSockets)]));
});

/** The protocol above TCP in the kernel, as `tls`; empty for none. */
function upperProtocol(local: Parameters<typeof getOptionIfAny>[0]): string {
  const name = getOptionIfAny(local, TCP.ULP, 16, IPPROTO.TCP) ?? new Uint8Array();
  return decodeText(name.subarray(0, Math.max(name.indexOf(0), 0)));
}
