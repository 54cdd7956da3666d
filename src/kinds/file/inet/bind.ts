/** Binds restored sockets of IP, and says what is in the way. */
import { StasisError } from '../../../base/errors.ts';
import { decodeText, encodeText } from '../../../base/text.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { AF, SO } from '../../../kernel/constants/sockets.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { setNumber, setOption } from '../../../kernel/sockets.ts';
import { ERRNO, SyscallError, trySyscall } from '../../../kernel/syscall.ts';
import { deviceIndex } from '../../../network/devices.ts';
import { type EndFields, fieldsOf, isAny, showEnd, sockaddrOf } from '../../../network/end-fields.ts';
import { allowFreebind } from '../../../network/freebind.ts';
import { restoreForgottenIp } from './ip-options.ts';
import type { MadeSocket } from './protocol.ts';

/** With whom a socket shares its port. */
interface Sharing {
  /** Sockets of the images have this port together, perhaps since SO_REUSEPORT allowed it once. */
  readonly sharesPort: boolean;
  /** It is bound with SO_REUSEADDR. */
  readonly reuses: boolean;
}

/**
 * Binds a socket to its address, if it has one, sharing the port with whoever allows it.
 * @throws StasisError (conflict) if the port is taken, or the address or the device is not there
 */
export function bindSocket(socket: MadeSocket, { sharesPort, reuses }: Sharing): void {
  const { entry, local } = socket;
  const device = prepareToBind(socket);
  const source = fieldsOf(entry, 'source');
  if (source.port === 0 && isAny(source)) return;
  if (reuses) setNumber(local, SO.REUSEADDR, 1);
  if (sharesPort) setNumber(local, SO.REUSEPORT, 1);
  bindTo(socket, device);
}

/**
 * Binds a socket to the source address of its entry; `device` is the index {@link prepareToBind} has returned.
 * @throws StasisError (conflict) if the port is taken, or the address is not there
 */
export function bindTo({ entry, note, local }: MadeSocket, device: number): void {
  const source = fieldsOf(entry, 'source');
  const address = sockaddrOf(entry.family, source, device);
  let result = trySyscall('bind', local, address, address.length);
  // An address of IPv6 that was added just now is tentative: only IPV6_FREEBIND allows to use it.
  const isTentative = (): boolean => entry.family === AF.INET6 && hasInet6Address(source);
  if (result === -ERRNO.EADDRNOTAVAIL && (note.foreign || isTentative())) {
    allowFreebind(local, entry.family, true);
    result = trySyscall('bind', local, address, address.length);
    allowFreebind(local, entry.family, entry.ip_opts?.freebind ?? false);
  }
  if (result < 0) throw bindError(entry, source, -result);
}

/**
 * Sets the options that bind(2) and connect(2) look at. Returns the index of the device that a link-local address
 * belongs to, or 0.
 * @throws StasisError (conflict) if a device is not there
 */
export function prepareToBind({ entry, note, local }: MadeSocket): number {
  const { so_bound_dev } = entry.opts;
  const named = entry.ifname ?? so_bound_dev;
  const index = named ? deviceIndex(local, named) : 0;
  if (index === undefined) {
    throw new StasisError({
      kind: 'conflict',
      code: 'SOCKET_DEVICE_MISSING',
      resource: `socket:[${entry.ino}]`,
      reason: `it was bound to the network device ${named}, which is not there`,
      remedy: `make the device, or give one this name (ip link set dev DEVICE name ${named})`,
    });
  }
  if (so_bound_dev) setOption(local, SO.BINDTODEVICE, encodeText(so_bound_dev));
  if (entry.ip_opts?.freebind) allowFreebind(local, entry.family, true);
  restoreForgottenIp(local, entry, note.ip, 'before bind');
  // Routes may depend on the mark.
  if (entry.opts.so_mark) setNumber(local, SO.MARK, entry.opts.so_mark);
  return entry.ifname ? index : 0;
}

/** Whether an address is listed in /proc/net/if_inet6, where tentative ones are too. */
function hasInet6Address({ words }: EndFields): boolean {
  const bytes = new Uint8Array(new Uint32Array(words).buffer);
  const wanted = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const listed = readProcIfAny('self', 'net/if_inet6'); // none without IPv6
  return listed !== undefined && decodeText(listed).includes(wanted);
}

/** The error for a bind(2) that failed. */
function bindError(entry: InetSkEntry, source: EndFields, errno: number): StasisError {
  const where = showEnd(entry.family, source);
  const resource = `socket:[${entry.ino}]`;
  if (errno === ERRNO.EADDRINUSE) {
    return new StasisError({
      kind: 'conflict',
      code: 'SOCKET_PORT_TAKEN',
      resource,
      reason: `it was bound to ${where}, which somebody else uses now`,
      remedy: `end whoever uses the port (ss -anp 'sport = :${source.port}'), or choose another one: --inet-addr-map ${where}=ADDRESS:PORT`,
    });
  }
  if (errno === ERRNO.EADDRNOTAVAIL) {
    const address = showEnd(entry.family, { ...source, port: 0 })
      .replace(/:0$/, '')
      .replace(/^\[|\]$/g, '');
    return new StasisError({
      kind: 'conflict',
      code: 'SOCKET_ADDRESS_MISSING',
      resource,
      reason: `it was bound to ${where}, an address that this machine does not have`,
      remedy: `add the address (ip address add ${address} dev DEVICE), or use another one: --inet-addr-map ${address}=ADDRESS`,
    });
  }
  return new SyscallError('bind', errno, { resource: `${resource}, to ${where}` });
}
