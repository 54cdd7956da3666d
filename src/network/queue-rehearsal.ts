/** Tries out whether a connection can be put into the queue of a listening socket, by one that nobody knows of. */
import { TCPI_OPT } from '../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK, TCP_STATE } from '../kernel/constants/sockets.ts';
import type { InetEnd } from '../kernel/netlink/inet-diag.ts';
import { rawAddress } from '../kernel/socket-facts.ts';
import { getNumber } from '../kernel/sockets.ts';
import { Fd, syscall } from '../kernel/syscall.ts';
import { acceptAll, endSilently, TakingListener } from './accept-queue.ts';
import { sockaddrOfEnd } from './end-fields.ts';
import { allowFreebind } from './freebind.ts';
import { ShortLock } from './lock-rules.ts';

/** What the connection begins with; any numbers would do. */
const FIRST = 0x5a5a_0000;

/**
 * Puts a connection from `remote` to a port of its own at the address of `own` into a queue, with a byte, and ends it
 * without a word. Nothing of it leaves the machine.
 * @throws StasisError for what is in the way: a packet filter, a missing privilege, …
 */
export function rehearse(own: InetEnd, remote: InetEnd): void {
  const family = own.address.length === 4 ? AF.INET : AF.INET6;
  using listener = new Fd(syscall('socket', family, SOCK.STREAM | SOCK.CLOEXEC, IPPROTO.TCP));
  allowFreebind(listener.number, family, true);
  const address = sockaddrOfEnd({ ...own, port: Uint8Array.of(0, 0) });
  syscall('bind', listener.number, address, address.length);
  syscall('listen', listener.number, 1);
  const port = rawAddress('getsockname', listener.number)?.slice(2, 4) ?? own.port;
  const ends = { own: { address: own.address, port }, remote };
  using _ = new ShortLock([{ local: ends.own, remote }]);
  try {
    using taking = new TakingListener(listener.number, 1);
    taking.take({
      ...ends,
      state: TCP_STATE.ESTABLISHED,
      entry: {
        inq_len: 1,
        inq_seq: FIRST + 2,
        outq_len: 0,
        outq_seq: FIRST + 1,
        opt_mask: TCPI_OPT.SACK,
        snd_wscale: 0,
        mss_clamp: 1460,
      },
      inq: Uint8Array.of(1),
      receiveBuffer: getNumber(listener.number, SO.RCVBUF),
    });
  } finally {
    for (const connection of acceptAll(listener.number)) endSilently(connection);
  }
}
