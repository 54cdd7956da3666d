/**
 * Reads connections of the tree in repair mode (TCP_REPAIR in net/ipv4/tcp.c), without which the kernel tells neither
 * sequence numbers nor windows, nor what waits to be sent.
 *
 * Repair mode is state of the socket: a task that has its connection in repair mode can neither send nor receive, and
 * so it must not remain. A socket is in repair mode only while it is read, under one of two fixed descriptors; a guard
 * process, which shares our descriptors, turns it off for these if Stasis is killed meanwhile.
 */
import { type LocalFd, taskFd } from '../../../base/brands.ts';
import type { DumpContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { O } from '../../../kernel/constants/files.ts';
import { REPAIR, TCP } from '../../../kernel/constants/inet.ts';
import { IPPROTO, SO, SOL_SOCKET } from '../../../kernel/constants/sockets.ts';
import { openFile } from '../../../kernel/files.ts';
import { getNumber, setNumber, trySetNumber } from '../../../kernel/sockets.ts';
import { type Fd, syscall } from '../../../kernel/syscall.ts';
import { Guard } from '../../../tracee/guard.ts';

/** Ends repair mode. A connection that goes on elsewhere must not send the window probe that belongs to it. */
export function endRepair(local: LocalFd, reuseAddress: boolean): void {
  setNumber(local, TCP.REPAIR, REPAIR.OFF_SILENT, IPPROTO.TCP);
  // Repair mode has a value of its own for SO_REUSEADDR, and its end clears it.
  setNumber(local, SO.REUSEADDR, +reuseAddress);
}

export class RepairDesk {
  /** For sockets without and with SO_REUSEADDR; /dev/null while none is read. */
  readonly #seats: readonly [Fd, Fd] = [idle(), idle()];
  readonly #idle: Fd = idle();
  readonly #guard: Guard;
  /** Sockets that are to vanish with the tree. */
  readonly #read = new Set<LocalFd>();

  private constructor() {
    this.#guard = new Guard((program) => {
      this.#seats.forEach((seat, reuseAddress) => {
        const number = taskFd(seat.number); // the guard has our descriptors
        const int = (value: number): number => program.data(new Uint8Array(new Int32Array([value]).buffer));
        program.attempt('setsockopt', number, IPPROTO.TCP, TCP.REPAIR, int(REPAIR.OFF_SILENT), 4);
        program.attempt('setsockopt', number, SOL_SOCKET, SO.REUSEADDR, int(reuseAddress), 4);
      });
    });
  }

  static readonly #slot = new Slot((_: DumpContext) => new RepairDesk());

  static of(context: DumpContext): RepairDesk {
    return RepairDesk.#slot.of(context);
  }

  static ifMade(context: DumpContext): RepairDesk | undefined {
    return RepairDesk.#slot.ifMade(context);
  }

  /** Calls `read` while a socket is in repair mode. The task must be frozen. @throws SyscallError */
  inRepair<T>(local: LocalFd, read: () => T): T {
    const reuseAddress = getNumber(local, SO.REUSEADDR) !== 0;
    const seat = this.#seats[reuseAddress ? 1 : 0].number;
    syscall('dup3', local, seat, O.CLOEXEC);
    try {
      setNumber(local, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP);
      try {
        return read();
      } finally {
        endRepair(local, reuseAddress);
        this.#read.add(local);
      }
    } finally {
      syscall('dup3', this.#idle.number, seat, O.CLOEXEC);
    }
  }

  /**
   * Puts all sockets that were read into repair mode, in which they end without a word to the other end. The tasks must
   * be about to be killed, by us or by the kernel if Stasis is killed.
   */
  silence(): void {
    for (const local of this.#read) trySetNumber(local, TCP.REPAIR, REPAIR.ON, IPPROTO.TCP);
  }

  /** Ends the guard. */
  close(): void {
    this.#guard[Symbol.dispose]();
    for (const fd of [...this.#seats, this.#idle]) fd[Symbol.dispose]();
  }
}

function idle(): Fd {
  return openFile('/dev/null', O.PATH | O.CLOEXEC);
}
