/** States of TCP, and which FINs a connection has seen in each. */
import type { LocalFd } from '../base/brands.ts';
import { POLL } from '../kernel/constants/files.ts';
import { TCP } from '../kernel/constants/inet.ts';
import { IPPROTO, TCP_STATE } from '../kernel/constants/sockets.ts';
import { TcpInfo } from '../kernel/layouts/inet.ts';
import { eventsOf } from '../kernel/poll.ts';
import { getOption } from '../kernel/sockets.ts';

/** What the kernel tells of a TCP socket. @throws SyscallError */
export function tcpInfo(local: LocalFd): TcpInfo {
  return TcpInfo.decode(getOption(local, TCP.INFO, TcpInfo.size, IPPROTO.TCP));
}

const CLOSED_HERE: readonly number[] = [
  TCP_STATE.FIN_WAIT1,
  TCP_STATE.FIN_WAIT2,
  TCP_STATE.CLOSING,
  TCP_STATE.LAST_ACK,
];
const CLOSED_THERE: readonly number[] = [TCP_STATE.CLOSE_WAIT, TCP_STATE.CLOSING, TCP_STATE.LAST_ACK];

/** Whether a connection in this state has a FIN in its send queue, or had one that was acknowledged. */
export function isClosedHere(state: number): boolean {
  return CLOSED_HERE.includes(state);
}

/** Whether the other end of a connection in this state has sent its FIN. */
export function isClosedThere(state: number): boolean {
  return CLOSED_THERE.includes(state);
}

const CONNECTED: readonly number[] = [TCP_STATE.ESTABLISHED, TCP_STATE.SYN_SENT, TCP_STATE.CLOSE_WAIT, ...CLOSED_HERE];

/** Whether a state is that of a connection that is not over, with a descriptor. */
export function isConnected(state: number): boolean {
  return CONNECTED.includes(state);
}

/** What poll(2) tells of a socket. */
export interface Events {
  /** An error waits to be reported. */
  readonly error: boolean;
  /** Nothing more is received: the other end has sent a FIN, or the socket was shut down for reading. */
  readonly ended: boolean;
  /** Urgent data waits. */
  readonly urgent: boolean;
}

/** @throws SyscallError */
export function tcpEvents(local: LocalFd): Events {
  const events = eventsOf(local, POLL.PRI | POLL.RDHUP);
  return {
    error: (events & POLL.ERR) !== 0,
    ended: (events & POLL.RDHUP) !== 0,
    urgent: (events & POLL.PRI) !== 0,
  };
}
