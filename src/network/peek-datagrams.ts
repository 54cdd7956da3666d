/**
 * Reads the datagrams that wait in a socket without taking them (MSG_PEEK). To see more than the first one SO_PEEK_OFF
 * has to be set, which is state of the socket: of a task's socket it is set and restored by one program that runs
 * detached (tracee/detached.ts), so that it comes to its end even if Stasis is killed.
 */
import { type LocalFd, ownPid } from '../base/brands.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { MSG, SO, SOL_SOCKET } from '../kernel/constants/sockets.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { Msghdr } from '../kernel/layouts/sockets.ts';
import { getNumberIfAny } from '../kernel/sockets.ts';
import { ERRNO, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { DetachedProcess } from '../tracee/detached.ts';
import { readMemory } from '../tracee/memory.ts';

/** A datagram that waits. */
export interface WaitingDatagram {
  readonly bytes: Uint8Array;
  /** The `struct sockaddr` it came from. */
  readonly from: Uint8Array;
  /** What recvmsg(2) tells besides: `struct cmsghdr`s. */
  readonly control: Uint8Array;
}

/** Datagrams peeked at by one program. */
const LOT = 64;
/** Room for a datagram. UDP_GRO joins datagrams up to the same size as one may have. */
const ROOM = 64 * 1024;
/** Room for an address, and for control data. */
const NAME = 128;
const CONTROL = 1024;
const STRIDE = ROOM + NAME + CONTROL;
/** A struct msghdr and one iovec. */
const HEADER = Msghdr.size + 16;
const FLAGS = MSG.PEEK | MSG.DONTWAIT | MSG.CMSG_CLOEXEC;

/**
 * All datagrams that wait in a socket with SO_PEEK_OFF, in their order. The kernel skips an empty one, behind others,
 * that has been peeked at before (`__skb_try_recv_from_queue()`): that is known by nobody. No error may wait in the
 * socket, since a look takes it.
 * @throws SyscallError
 */
export function peekDatagrams(local: LocalFd): WaitingDatagram[] {
  const usual = getNumberIfAny(local, SO.PEEK_OFF) ?? -1;
  using buffers = new Buffers();
  using detached = new DetachedProcess();
  const found: WaitingDatagram[] = [];
  for (let seen = 0; ; ) {
    const program = detached.program();
    const offset = (value: number): void => {
      const at = program.data(new Uint8Array(new Int32Array([value]).buffer));
      program.attempt('setsockopt', local as number, SOL_SOCKET, SO.PEEK_OFF, at, 4);
    };
    offset(seen);
    const calls = buffers.addresses.map((address) => program.attempt('recvmsg', local as number, address, FLAGS));
    offset(usual);
    buffers.reset();
    detached.run(program);
    for (const [i, call] of calls.entries()) {
      const length = program.result(call);
      if (length === -ERRNO.EAGAIN) return found;
      if (length < 0) throw new SyscallError('recvmsg', -length);
      found.push(buffers.datagram(i, length));
      seen += length;
    }
  }
}

/** Buffers for {@link LOT} datagrams; they are mapped, since few of their pages are touched. */
class Buffers implements Disposable {
  readonly #base: number;
  readonly #headers = new PinnedBuffer(new Uint8Array(LOT * HEADER));
  /** Addresses of the structs msghdr. */
  readonly addresses = Array.from({ length: LOT }, (_, i) => this.#headers.address + i * HEADER);

  constructor() {
    const kind = MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE;
    this.#base = syscall('mmap', 0, LOT * STRIDE, PROT.READ | PROT.WRITE, kind, -1, 0);
  }

  /** Prepares the headers, which the kernel writes lengths into. */
  reset(): void {
    const { view: headers, address } = this.#headers;
    const view = new DataView(headers.buffer);
    for (let i = 0; i < LOT; i++) {
      const at = this.#base + i * STRIDE;
      Msghdr.encodeInto(headers, i * HEADER, {
        name: BigInt(at + ROOM),
        nameLength: NAME,
        iov: BigInt(address + i * HEADER + Msghdr.size),
        iovLength: 1n,
        control: BigInt(at + ROOM + NAME),
        controlLength: BigInt(CONTROL),
      });
      view.setBigUint64(i * HEADER + Msghdr.size, BigInt(at), true);
      view.setBigUint64(i * HEADER + Msghdr.size + 8, BigInt(ROOM), true);
    }
  }

  /** Datagram `i`, of which `length` bytes were read. */
  datagram(i: number, length: number): WaitingDatagram {
    const { nameLength, controlLength } = Msghdr.decode(this.#headers.view, i * HEADER);
    const at = this.#base + i * STRIDE;
    return {
      bytes: read(at, length),
      from: read(at + ROOM, Math.min(nameLength, NAME)),
      control: read(at + ROOM + NAME, Math.min(Number(controlLength), CONTROL)),
    };
  }

  [Symbol.dispose](): void {
    trySyscall('munmap', this.#base, LOT * STRIDE);
    this.#headers[Symbol.dispose]();
  }
}

function read(address: number, length: number): Uint8Array {
  return length === 0 ? new Uint8Array() : readMemory(ownPid(), address, new Uint8Array(length));
}
