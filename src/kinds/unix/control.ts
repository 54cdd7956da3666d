/** Control data of messages: open files on their way, and who sent them (unix(7)). Pure. */
import { SCM, SOL_SOCKET } from '../../kernel/constants/sockets.ts';
import { i32, struct, u64 } from '../../kernel/layouts/struct.ts';
import { Ucred } from '../../kernel/sockets.ts';

/** `struct cmsghdr`. */
const Head = struct({ length: u64, level: i32, type: i32 });

/** What a message brings besides its bytes. */
export interface Control {
  readonly rights: number[];
  readonly sender: Ucred | undefined;
  /** The type of something else that is there. */
  readonly unknown: number | undefined;
}

/** Reads control data as recvmsg(2) gave it. */
export function decodeControl(control: Uint8Array): Control {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const rights: number[] = [];
  let sender: Ucred | undefined;
  let unknown: number | undefined;
  for (let at = 0; at + Head.size <= control.length; ) {
    const { length, level, type } = Head.decode(control, at);
    const end = at + Number(length);
    if (end < at + Head.size || end > control.length) break;
    if (level === SOL_SOCKET && type === SCM.RIGHTS) {
      for (let fd = at + Head.size; fd + 4 <= end; fd += 4) rights.push(view.getInt32(fd, true));
    } else if (level === SOL_SOCKET && type === SCM.CREDENTIALS) {
      sender = Ucred.decode(control, at + Head.size);
    } else {
      unknown = type;
    }
    at = align8(end);
  }
  return { rights, sender, unknown };
}

/** Control data for sendmsg(2); empty if there is nothing to tell. */
export function encodeControl(rights: readonly number[], sender: Ucred | undefined): Uint8Array {
  const parts: Uint8Array[] = [];
  if (sender) parts.push(message(SCM.CREDENTIALS, Ucred.encode(sender)));
  if (rights.length > 0) parts.push(message(SCM.RIGHTS, new Uint8Array(new Int32Array(rights).buffer)));
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function message(type: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(align8(Head.size + data.length));
  Head.encodeInto(out, 0, { length: BigInt(Head.size + data.length), level: SOL_SOCKET, type });
  out.set(data, Head.size);
  return out;
}

function align8(value: number): number {
  return (value + 7) & ~7;
}
