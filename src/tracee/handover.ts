/** Handing descriptors over to a task through the socket it shares with us (SCM_RIGHTS). */
import { Pins } from '../kernel/ffi.ts';
import { syscall } from '../kernel/syscall.ts';
import type { Batch } from './batch.ts';
import type { Seed } from './seed.ts';

/** SCM_MAX_FD. */
const MAX_PER_MESSAGE = 253;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/**
 * Gives the task the open files behind our `locals`. They appear, in this order, under its lowest free descriptor
 * numbers, which are answered; what is in the batch has run then. `taken` are the numbers it has besides its socket.
 */
export function handOver(
  seed: Seed,
  batch: Batch,
  locals: readonly number[],
  taken: ReadonlySet<number> = new Set(),
): number[] {
  for (let at = 0; at < locals.length; at += MAX_PER_MESSAGE) {
    const lot = locals.slice(at, at + MAX_PER_MESSAGE);
    send(seed.socket.number, lot);
    const controlLength = 16 + 4 * lot.length;
    const program = batch.reserve(1, 160 + controlLength);
    const byte = program.space(8);
    const iov = program.data(words(BigInt(byte), 1n));
    const control = program.space(controlLength);
    // struct msghdr: no name; one iovec; the control buffer
    const header = program.data(words(0n, 0n, BigInt(iov), 1n, BigInt(control), BigInt(controlLength), 0n));
    program.call('recvmsg', seed.socketTarget, header, 0);
    // The tasks of a tree all read from one socket: who is to have this lot must take it before another is sent.
    batch.flush();
  }
  const arrived: number[] = [];
  for (let number = 0; arrived.length < locals.length; number++) {
    if (!taken.has(number) && number !== seed.socketTarget) arrived.push(number);
  }
  return arrived;
}

function send(socket: number, lot: readonly number[]): void {
  const control = new Uint8Array((16 + 4 * lot.length + 7) & ~7);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, BigInt(16 + 4 * lot.length), true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  lot.forEach((fd, i) => {
    view.setInt32(16 + 4 * i, fd, true);
  });
  using pins = new Pins();
  const byte = new Uint8Array(8);
  const iov = new BigUint64Array([BigInt(pins.address(byte)), 1n]);
  const header = new BigUint64Array([
    0n,
    0n,
    BigInt(pins.address(iov)),
    1n,
    BigInt(pins.address(control)),
    view.getBigUint64(0, true),
    0n,
  ]);
  syscall('sendmsg', socket, header, 0);
}

function words(...values: bigint[]): Uint8Array {
  return new Uint8Array(new BigUint64Array(values).buffer);
}

/** Closes every descriptor of the task but its socket. */
export function closeAll(seed: Seed, batch: Batch): void {
  batch.call('close_range', 0, seed.socketTarget - 1, 0);
  batch.call('close_range', seed.socketTarget + 1, 0xffff_ffff, 0);
}
