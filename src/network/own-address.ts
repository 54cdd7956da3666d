/** Whether addresses of IP are addresses of this machine. */
import { type HasSlots, Slot } from '../contract/slots.ts';
import { AF, SOCK } from '../kernel/constants/sockets.ts';
import { rawAddress } from '../kernel/socket-facts.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { presentNetworkMark } from '../namespaces/inside.ts';

/** Addresses that were asked for, and the answers. */
const KNOWN = new Slot((_: HasSlots) => new Map<string, boolean>());

/** Where the address is in `struct sockaddr_in` and `sockaddr_in6`, and the sizes of these. */
const INET = { at: 4, size: 16 } as const;
const INET6 = { at: 8, size: 28 } as const;
/** Any port: a socket of UDP that is connected sends nothing. */
const PORT = 9;

/**
 * Whether an address (4 or 16 bytes, not mapped) is one of the network namespace that Stasis is in, so that packets to
 * it do not leave it: then it is also the address that the kernel chooses to send from.
 */
export function isOwnAddress(address: Uint8Array, context: HasSlots): boolean {
  if (address.length === 4 && address[0] === 127) return true; // all of 127.0.0.0/8, sent from 127.0.0.1
  const known = KNOWN.of(context);
  const key = `${presentNetworkMark()} ${address.join('.')}`;
  const answer = known.get(key) ?? probe(address);
  known.set(key, answer);
  return answer;
}

function probe(address: Uint8Array): boolean {
  const [family, { at, size }] = address.length === 4 ? [AF.INET, INET] : [AF.INET6, INET6];
  const to = new Uint8Array(size);
  const view = new DataView(to.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, PORT);
  to.set(address, at);
  using socket = new Fd(syscall('socket', family, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  if (trySyscall('connect', socket.number, to, to.length) < 0) return false;
  const chosen = rawAddress('getsockname', socket.number)?.subarray(at, at + address.length);
  return chosen?.every((byte, i) => byte === address[i]) ?? false;
}
