/** Sending descriptors over unix sockets (include/linux/socket.h). */

import { i32, struct, u32, u64, type ValueOf } from './struct.ts';

/** `struct msghdr`, of sendmsg and recvmsg. */
export const Msghdr = struct({
  name: u64,
  nameLength: u32,
  iov: u64,
  iovLength: u64,
  control: u64,
  controlLength: u64,
  flags: u32,
});
export type Msghdr = ValueOf<typeof Msghdr>;

const Cmsghdr = struct({ length: u64, level: i32, type: i32 });
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/** Most descriptors one SCM_RIGHTS message carries (`SCM_MAX_FD`). */
export const SCM_MAX_FD = 253;

/** Bytes of control data for a number of descriptors. */
export function rightsSpace(count: number): number {
  return align8(Cmsghdr.size + 4 * count);
}

/** Control data with one SCM_RIGHTS message. Throws RangeError for more than {@link SCM_MAX_FD} descriptors. */
export function encodeRights(fds: readonly number[]): Uint8Array {
  if (fds.length > SCM_MAX_FD) throw new RangeError(`${fds.length} descriptors in one message`);
  const out = new Uint8Array(rightsSpace(fds.length));
  Cmsghdr.encodeInto(out, 0, { length: BigInt(Cmsghdr.size + 4 * fds.length), level: SOL_SOCKET, type: SCM_RIGHTS });
  const view = new DataView(out.buffer);
  fds.forEach((fd, i) => {
    view.setInt32(Cmsghdr.size + 4 * i, fd, true);
  });
  return out;
}

/** The descriptors of all SCM_RIGHTS messages in received control data (cut to the length recvmsg answered). */
export function decodeRights(control: Uint8Array): number[] {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const fds: number[] = [];
  for (let at = 0; at + Cmsghdr.size <= control.length; ) {
    const head = Cmsghdr.decode(control, at);
    const end = at + Number(head.length);
    if (end < at + Cmsghdr.size || end > control.length) break;
    if (head.level === SOL_SOCKET && head.type === SCM_RIGHTS) {
      for (let fd = at + Cmsghdr.size; fd + 4 <= end; fd += 4) fds.push(view.getInt32(fd, true));
    }
    at = align8(end);
  }
  return fds;
}

function align8(value: number): number {
  return (value + 7) & ~7;
}
