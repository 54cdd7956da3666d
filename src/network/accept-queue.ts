/** The queue of a listening socket: connections that nobody has accepted yet. */
import type { LocalFd } from '../base/brands.ts';
import { decodeText } from '../base/text.ts';
import { affinity, onlyCpu, setAffinity } from '../kernel/affinity.ts';
import { REPAIR, TCP, TCPI_OPT } from '../kernel/constants/inet.ts';
import { IPPROTO, SO, SOCK } from '../kernel/constants/sockets.ts';
import { readSystem } from '../kernel/proc/read.ts';
import { getNumber, getNumberIfAny, setNumber, trySetNumber } from '../kernel/sockets.ts';
import { arenaAddress, arenaView, Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { makeInQueue, roomFor, type WantedConnection } from './handshake.ts';
import { tcpInfo } from './tcp-state.ts';

/** How many connections wait in the queue of a listening socket. @throws SyscallError */
export function waitingIn(listener: LocalFd): number {
  return tcpInfo(listener).unacked;
}

/**
 * Accepts all connections that wait in the queue of a listening socket, in their order. Nobody else must accept
 * meanwhile: a listening socket that blocks would wait for the next one.
 * @throws SyscallError
 */
export function acceptAll(listener: LocalFd): Fd[] {
  const accepted: Fd[] = [];
  while (waitingIn(listener) > 0) accepted.push(new Fd(syscall('accept4', listener, 0, 0, SOCK.CLOEXEC)));
  return accepted;
}

/** Has a connection end without a word to the other end. */
export function endSilently(connection: Fd): void {
  trySetNumber(connection.number, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP);
  connection[Symbol.dispose]();
}

/** The room that the queue gets beyond what it needs, for those who connect meanwhile. */
const SPARE = 64;

/** A listening socket that takes connections which are made here, until it is disposed of. */
export class TakingListener implements Disposable {
  readonly #listener: LocalFd;
  readonly #backlog: number;
  /** TCP_DEFER_ACCEPT, with which a handshake without bytes makes no connection; in seconds. */
  readonly #defer: number;
  /** Set if the listening socket shares its port. */
  readonly #sharing: SharedPort | undefined;
  /** TCP_WINDOW_CLAMP, and by how much windows are shifted with it. */
  readonly #clamp: number;
  readonly #scale: number;
  #isClamped = false;

  /** @throws SyscallError */
  constructor(listener: LocalFd, count: number) {
    this.#listener = listener;
    this.#backlog = tcpInfo(listener).sacked;
    this.#defer = getNumberIfAny(listener, TCP.DEFER_ACCEPT, IPPROTO.TCP) ?? 0;
    this.#clamp = getNumberIfAny(listener, TCP.WINDOW_CLAMP, IPPROTO.TCP) || LARGEST_CLAMP;
    this.#scale = usualScale(listener, this.#clamp);
    if (this.#defer > 0) setNumber(listener, TCP.DEFER_ACCEPT, 0, IPPROTO.TCP);
    syscall('listen', listener, this.#backlog + count + SPARE);
    if (getNumberIfAny(listener, SO.REUSEPORT) === 1) this.#sharing = new SharedPort(listener);
  }

  /** Makes a connection, the last of the queue. @throws StasisError */
  take(wanted: WantedConnection): void {
    if (wanted.entry.opt_mask & TCPI_OPT.WSCALE) this.#limitScale(wanted.entry.rcv_wscale ?? 0);
    const own = getNumber(this.#listener, SO.RCVBUF);
    const room = Math.max(wanted.receiveBuffer, roomFor(wanted.inq.length));
    if (room === own) {
      makeInQueue(wanted, () => {});
      return;
    }
    try {
      makeInQueue(wanted, () => this.#setReceiveBuffer(room));
    } finally {
      this.#setReceiveBuffer(own);
    }
  }

  /** Sets the size of the receive buffer, which does not become one that the program has chosen (SO_BUF_LOCK). */
  #setReceiveBuffer(size: number): void {
    const lock = getNumberIfAny(this.#listener, SO.BUF_LOCK);
    setNumber(this.#listener, SO.RCVBUFFORCE, Math.ceil(size / 2));
    if (lock !== undefined) trySetNumber(this.#listener, SO.BUF_LOCK, lock);
  }

  /**
   * Has the next connection shift its windows by no more than is wanted: the other end has been told by how much. The
   * kernel takes as much as the largest window needs that there could ever be (`tcp_select_initial_window()`).
   */
  #limitScale(wanted: number): void {
    const isUsual = this.#scale <= wanted;
    if (isUsual && !this.#isClamped) return;
    this.#isClamped = true;
    // 0, which stands for no limit, cannot be set again while it listens; the largest one is the same.
    const clamp = isUsual ? this.#clamp : LARGEST_WINDOW * 2 ** wanted;
    setNumber(this.#listener, TCP.WINDOW_CLAMP, clamp, IPPROTO.TCP);
  }

  [Symbol.dispose](): void {
    this.#sharing?.[Symbol.dispose]();
    if (this.#isClamped) trySetNumber(this.#listener, TCP.WINDOW_CLAMP, this.#clamp, IPPROTO.TCP);
    trySyscall('listen', this.#listener, this.#backlog);
    if (this.#defer > 0) trySetNumber(this.#listener, TCP.DEFER_ACCEPT, this.#defer, IPPROTO.TCP);
  }
}

/** Of SO_INCOMING_CPU: no processor. */
const ANY_CPU = -1;

/**
 * The time in which a listening socket gets what comes in for a port that it shares with others (SO_REUSEPORT): what
 * counts for the kernel is whether it asks for the processor that a packet comes in by (`compute_score()` in
 * net/ipv4/inet_hashtables.c), and then that it is in no group that another one would be chosen from.
 */
class SharedPort implements Disposable {
  readonly #listener: LocalFd;
  readonly #incomingCpu: number;
  readonly #allowed = affinity();

  constructor(listener: LocalFd) {
    this.#listener = listener;
    this.#incomingCpu = getNumberIfAny(listener, SO.INCOMING_CPU) ?? ANY_CPU;
    syscall('getcpu', arenaAddress, 0, 0);
    const cpu = arenaView.getUint32(0, true);
    const only = onlyCpu(cpu);
    if (only) setAffinity(only);
    setNumber(listener, SO.REUSEPORT, 0);
    setNumber(listener, SO.INCOMING_CPU, cpu);
  }

  [Symbol.dispose](): void {
    trySetNumber(this.#listener, SO.INCOMING_CPU, this.#incomingCpu);
    trySetNumber(this.#listener, SO.REUSEPORT, 1);
    if (this.#allowed) setAffinity(this.#allowed);
  }
}

/** The largest window that a segment can tell, before it is shifted, and the largest shift (RFC 7323, 2.3). */
const LARGEST_WINDOW = 0xffff;
const LARGEST_SCALE = 14;
const LARGEST_CLAMP = LARGEST_WINDOW * 2 ** LARGEST_SCALE;
/** SO_BUF_LOCK: the receive buffer stays as it was set (SOCK_RCVBUF_LOCK). */
const RECEIVE_BUFFER = 2;

/** By how much a connection that is accepted shifts its windows. */
function usualScale(listener: LocalFd, clamp: number): number {
  const [, , most = 0] = numbersIn('/proc/sys/net/ipv4/tcp_rmem');
  const [other = 0] = numbersIn('/proc/sys/net/core/rmem_max');
  const own = (getNumberIfAny(listener, SO.RCVBUF) ?? 0) / 2;
  const isLocked = ((getNumberIfAny(listener, SO.BUF_LOCK) ?? 0) & RECEIVE_BUFFER) !== 0;
  const space = Math.min(Math.max(own, most, other), isLocked ? Math.min(own, clamp) : clamp);
  return Math.min(Math.max(Math.floor(Math.log2(Math.max(space, 1))) - 15, 0), LARGEST_SCALE);
}

function numbersIn(path: string): number[] {
  return decodeText(readSystem(path)).trim().split(/\s+/).map(Number);
}
