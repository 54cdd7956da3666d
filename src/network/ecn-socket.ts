/**
 * Makes sockets of TCP that use ECN (RFC 3168) in whatever connection they are put into by repair mode, which cannot
 * have that itself.
 *
 * Whether a connection uses ECN is decided by the flags of a SYN. But the kernel keeps the answer when a connection is
 * given up by connect(2) to AF_UNSPEC (`tcp_disconnect()`), and forgets it only when it sends a SYN
 * (`tcp_ecn_send_syn()`), which repair mode does not do. So a socket accepts a connection that uses ECN, between two
 * addresses of the loopback device, and gives it up: it is as a new one then, but for that.
 *
 * Who listens agrees to ECN unless net.ipv4.tcp_ecn is 0; who connects asks for it only if that is 1. So the SYN of the
 * other end is dropped by a filter of the listening socket, and sent again as it is to be.
 */
import type { LocalFd } from '../base/brands.ts';
import { IPV6, REPAIR, REPAIR_QUEUE, TCP, TCPI_OPT } from '../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK } from '../kernel/constants/sockets.ts';
import { SockFilter } from '../kernel/layouts/seccomp.ts';
import { encodeAll } from '../kernel/layouts/struct.ts';
import type { InetEnd } from '../kernel/netlink/inet-diag.ts';
import { rawAddress } from '../kernel/socket-facts.ts';
import { attachFilter, getNumber, setNumber, trySetNumber } from '../kernel/sockets.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { endOf, packetEndOf, sockaddrOf } from './end-fields.ts';
import { ForgedPeer } from './forged-peer.ts';
import { SEGMENT, synOptions } from './tcp-segment.ts';
import { tcpInfo } from './tcp-state.ts';

/** Which addresses a socket is for: the kernel has other functions for IPv4 in a socket of IPv6. */
export type EcnFamily = 'IPv4' | 'IPv6' | 'mapped';

const FAMILY = { IPv4: AF.INET, IPv6: AF.INET6, mapped: AF.INET6 } as const;

/** Loopback addresses. */
const LOOPBACK: Readonly<Record<EcnFamily, readonly number[]>> = {
  IPv4: [127, 0, 0, 1],
  IPv6: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  mapped: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1],
};

/** The first sequence number of the other end: any would do. */
const FIRST = 0x5a5a_0000;
const MSS = 536;

/** How often the SYN is sent, and how many milliseconds its effect is waited for. */
const TRIES = 4;
const PAUSE = 25;

/**
 * A socket in repair mode, without an address, that uses ECN when it is connected; undefined if the network namespace
 * that we are in has none (net.ipv4.tcp_ecn is 0, or packets do not pass its loopback device).
 * @throws SyscallError
 */
export function socketWithEcn(family: EcnFamily): Fd | undefined {
  using listener = boundSocket(family);
  using other = boundSocket(family);
  if (!listener || !other) return undefined;
  const [there, here] = [nameOf(listener), nameOf(other)];
  attachFilter(listener.number, filterFor(here.end));
  syscall('listen', listener.number, 1);
  setNumber(other.number, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP);
  setNumber(other.number, TCP.REPAIR_QUEUE, REPAIR_QUEUE.SEND, IPPROTO.TCP);
  setNumber(other.number, TCP.QUEUE_SEQ, FIRST, IPPROTO.TCP);
  setNumber(other.number, TCP.REPAIR, REPAIR.OFF_SILENT, IPPROTO.TCP);
  try {
    const asked = trySyscall('connect', other.number, there.address, there.address.length);
    if (asked < 0 && asked !== -ERRNO.EINPROGRESS) return undefined;
    using accepted = acceptFrom(listener, there.end, here.end);
    if (!accepted) return undefined;
    giveUp(accepted.number);
    // Another kernel may forget it.
    if (!(tcpInfo(accepted.number).options & TCPI_OPT.ECN)) return undefined;
    return new Fd(accepted.release());
  } finally {
    trySetNumber(other.number, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP); // it ends without a word, too
  }
}

/** A socket at the loopback address, which never blocks; undefined if there is no such address. */
function boundSocket(family: EcnFamily): Fd | undefined {
  const flags = SOCK.STREAM | SOCK.CLOEXEC | SOCK.NONBLOCK;
  using fd = new Fd(syscall('socket', FAMILY[family], flags, IPPROTO.TCP));
  if (family === 'mapped') setNumber(fd.number, IPV6.V6ONLY, 0, IPPROTO.IPV6);
  const words = [...new Uint32Array(Uint8Array.from(LOOPBACK[family]).buffer)];
  const address = sockaddrOf(FAMILY[family], { port: 0, words });
  if (trySyscall('bind', fd.number, address, address.length) < 0) return undefined;
  return new Fd(fd.release());
}

function nameOf(fd: Fd): { readonly address: Uint8Array; readonly end: InetEnd } {
  const address = rawAddress('getsockname', fd.number);
  if (!address) throw new SyscallError('getsockname', ERRNO.EBADF);
  const family = address[0] ?? 0;
  return { address, end: packetEndOf(family, endOf(family, address)) };
}

/** Sends the SYN that asks for ECN until it has had its effect. */
function acceptFrom(listener: Fd, there: InetEnd, here: InetEnd): Fd | undefined {
  const options = synOptions({ mss: MSS, scale: undefined, sack: false, timestamps: false });
  const flags = SEGMENT.SYN | SEGMENT.ECE | SEGMENT.CWR;
  using peer = new ForgedPeer(there, here);
  for (let turn = 0; turn < TRIES; turn++) {
    for (const pause of [0, PAUSE]) {
      if (pause > 0) trySyscall('poll', 0, 0, pause);
      const accepted = trySyscall('accept4', listener.number, 0, 0, SOCK.CLOEXEC);
      if (accepted >= 0) return new Fd(accepted);
      if (pause === 0) peer.send({ sequence: FIRST, acknowledged: 0, flags, options, window: 0xffff });
    }
  }
  return undefined;
}

/** Has a connection end without a word, and its socket be as a new one. */
function giveUp(local: LocalFd): void {
  setNumber(local, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP);
  const nowhere = new Uint8Array(16); // AF_UNSPEC
  syscall('connect', local, nowhere, nowhere.length);
  getNumber(local, SO.ERROR); // ECONNABORTED
  setNumber(local, SO.DETACH_FILTER, 0);
  setNumber(local, SO.MARK, 0); // that of the SYN, with net.ipv4.tcp_fwmark_accept
}

/** Codes of instructions of classic BPF. */
const LOAD_HALF = 0x28;
const LOAD_BYTE = 0x30;
const AND = 0x54;
const JUMP_IF = 0x15;
const RETURN = 0x06;
/** Where a segment has the flags. */
const FLAGS = 13;

/** A filter (struct sock_filter) that lets in what comes from a port, but for a SYN that does not ask for ECN. */
function filterFor({ port: [high = 0, low = 0] }: InetEnd): Uint8Array {
  const program = [
    { code: LOAD_HALF },
    { code: JUMP_IF, k: (high << 8) | low, jf: 4 },
    { code: LOAD_BYTE, k: FLAGS },
    { code: AND, k: SEGMENT.SYN | SEGMENT.ECE },
    { code: JUMP_IF, k: SEGMENT.SYN, jt: 1 },
    { code: RETURN, k: 0xffff_ffff },
    { code: RETURN },
  ];
  return encodeAll(SockFilter, program);
}
