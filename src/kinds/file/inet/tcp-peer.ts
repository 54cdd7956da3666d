/** Sends segments to a socket of ours as if they came from the other end of its connection. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { AF, IPPROTO, LOCK_MARK, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { setNumber } from '../../../kernel/sockets.ts';
import { Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { mappedOf } from '../../../network/inet-address.ts';
import { packetOf, type Segment } from '../../../network/tcp-segment.ts';
import { type EndFields, fieldsOf, showEnd, sockaddrOf } from './address.ts';
import { tcpInfo } from './tcp-state.ts';

/** How often a segment is sent, and how many milliseconds its effect is waited for. */
const TRIES = 40;
const PAUSE = 25;

/** The numbers and flags of a segment. */
export type Play = Pick<Segment, 'sequence' | 'acknowledged' | 'flags'>;

/**
 * Sends a segment from the destination of `entry` to its source, `local`, which must not be bound to a device: the
 * segment comes in through the loopback device. Returns when the socket has left the state `leaves`, which the other
 * end may have brought about itself if it is on this machine.
 * @throws StasisError
 */
export function playPeer(local: LocalFd, entry: InetSkEntry, device: number, play: Play, leaves: number): void {
  const source = fieldsOf(entry, 'source');
  const destination = fieldsOf(entry, 'destination');
  const [from, to] = [addressOf(entry.family, destination), addressOf(entry.family, source)];
  const packet = packetOf({ ...play, from, fromPort: destination.port, to, toPort: source.port });
  const family = to.length === 4 ? AF.INET : AF.INET6;
  const fields = { port: 0, words: [...new Uint32Array(to.slice().buffer)] };
  const address = sockaddrOf(family, fields, device);
  using raw = new Fd(syscall('socket', family, SOCK.RAW | SOCK.CLOEXEC, IPPROTO.RAW));
  setNumber(raw.number, SO.MARK, LOCK_MARK);
  const isDone = (): boolean => tcpInfo(local).state !== leaves;
  for (let turn = 0; turn < TRIES; turn++) {
    if (isDone()) return;
    syscall('sendto', raw.number, packet, packet.length, 0, address, address.length);
    // The kernel has handled the segment by now, unless softirqs are left to ksoftirqd.
    if (isDone()) return;
    trySyscall('poll', 0, 0, PAUSE);
  }
  throw new StasisError({
    kind: 'kernel',
    resource: `socket:[${entry.ino}]`,
    reason: `a segment made in place of ${showEnd(entry.family, destination)} has not come in`,
    remedy: 'see that no packet filter drops packets of the loopback device',
  });
}

/** The bytes of an address; 4 for one of IPv4, also if it is mapped into IPv6. */
function addressOf(family: number, { words }: EndFields): Uint8Array {
  const bytes = new Uint8Array(new Uint32Array(words.slice(0, family === AF.INET ? 1 : 4)).buffer);
  return mappedOf(bytes) ?? bytes;
}
