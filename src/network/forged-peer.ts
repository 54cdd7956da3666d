/** Sends segments to a socket of this machine as if they came from the other end of its connection. */
import { IPPROTO, LOCK_MARK, SO, SOCK } from '../kernel/constants/sockets.ts';
import type { InetEnd } from '../kernel/netlink/inet-diag.ts';
import { setNumber } from '../kernel/sockets.ts';
import { Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { sockaddrOfEnd } from './end-fields.ts';
import { type Play, packetOf, type SegmentEnds } from './tcp-segment.ts';

export class ForgedPeer implements Disposable {
  readonly #raw: Fd;
  readonly #ends: SegmentEnds;
  readonly #address: Uint8Array;

  /**
   * `own` is the end of the socket, which must not be bound to a device: the segments come in through the loopback
   * device, with the mark that passes the network lock. `device` is that of a link-local address, else 0.
   * @throws SyscallError
   */
  constructor(own: InetEnd, remote: InetEnd, device = 0) {
    this.#ends = { from: remote.address, fromPort: portOf(remote), to: own.address, toPort: portOf(own) };
    const address = sockaddrOfEnd({ ...own, port: Uint8Array.of(0, 0) }, device);
    this.#address = address;
    this.#raw = new Fd(syscall('socket', address[0] as number, SOCK.RAW | SOCK.CLOEXEC, IPPROTO.RAW));
    setNumber(this.#raw.number, SO.MARK, LOCK_MARK);
  }

  /** Sends a segment. The kernel has handled it by now, unless softirqs are left to ksoftirqd. @throws SyscallError */
  send(play: Play): void {
    const result = this.trySend(play);
    if (result < 0) throw new SyscallError('sendto', -result, { resource: 'a raw socket' });
  }

  /** As {@link send}. Returns the length of the packet, or -errno. */
  trySend(play: Play): number {
    const packet = packetOf({ ...play, ...this.#ends });
    return trySyscall('sendto', this.#raw.number, packet, packet.length, 0, this.#address, this.#address.length);
  }

  [Symbol.dispose](): void {
    this.#raw[Symbol.dispose]();
  }
}

function portOf({ port: [high = 0, low = 0] }: InetEnd): number {
  return (high << 8) | low;
}
