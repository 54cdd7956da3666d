/** Structs of TCP (uapi/linux/tcp.h). */
import { i32, struct, u8, u32, type ValueOf } from './struct.ts';

/** The beginning of `struct tcp_info`. */
export const TcpInfo = struct({
  state: u8,
  congestionState: u8,
  retransmits: u8,
  probes: u8,
  backoff: u8,
  /** TCPI_OPT_*. */
  options: u8,
  /** Window scales: what the peer's windows are shifted by, and in the upper half what ours are. */
  scales: u8,
  flags: u8,
  rto: u32,
  ato: u32,
  sendMss: u32,
  receiveMss: u32,
  /** Segments on their way; of a listening socket, the number of connections that wait to be accepted. */
  unacked: u32,
  /** Of a listening socket, how many may wait. */
  sacked: u32,
});
export type TcpInfo = ValueOf<typeof TcpInfo>;

/** `struct tcp_repair_window`. */
export const RepairWindow = struct({
  sendWl1: u32,
  sendWindow: u32,
  maxWindow: u32,
  receiveWindow: u32,
  receiveWup: u32,
});
export type RepairWindow = ValueOf<typeof RepairWindow>;

/** `struct tcp_repair_opt`. */
export const RepairOption = struct({ code: u32, value: i32 });
