/**
 * Options that a socket puts into the headers of the packets it sends: those of IPv4 (record route, timestamp, source
 * routes, security labels) and the extension headers of IPv6. CRIU loses them.
 */
import { fromBase64, toBase64 } from '../../../base/base64.ts';
import type { LocalFd } from '../../../base/brands.ts';
import { IP, IPV6 } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO } from '../../../kernel/constants/sockets.ts';
import { OptionBatch } from '../../../kernel/option-batch.ts';
import { setOption } from '../../../kernel/sockets.ts';

type Names = Readonly<Record<string, number>>;

/** Name in the notes, and number of the option. */
const OPTIONS_4: Names = { options: IP.OPTIONS };
const OPTIONS_6: Names = {
  hopOptions6: IPV6.HOPOPTS,
  routingDestination6: IPV6.RTHDRDSTOPTS,
  routing6: IPV6.RTHDR,
  destination6: IPV6.DSTOPTS,
};

/** Bytes: more than the 40 of IPv4, and as many as an extension header of IPv6 has. */
const ROOM = 2048;

const BATCH_4 = batchOf(OPTIONS_4, IPPROTO.IP);
const BATCH_6 = batchOf(OPTIONS_6, IPPROTO.IPV6);

function batchOf(names: Names, level: number): OptionBatch {
  return new OptionBatch(Object.fromEntries(Object.entries(names).map(([key, name]) => [key, [level, name, ROOM]])));
}

/** The header options of a socket in Base64, by name; undefined if it has none. */
export function captureHeaderOptions(local: LocalFd, family: number): Readonly<Record<string, string>> | undefined {
  const read = (family === AF.INET6 ? BATCH_6 : BATCH_4).read(local);
  let found: Record<string, string> | undefined;
  for (const key of read.keys) {
    const value = read.bytesIfAny(key);
    if (!value || value.length === 0) continue;
    found ??= {};
    found[key] = toBase64(value);
  }
  return found;
}

/** Sets the noted header options. @throws SyscallError */
export function restoreHeaderOptions(
  local: LocalFd,
  family: number,
  noted: Readonly<Record<string, string>> | undefined,
): void {
  if (!noted) return;
  const [names, level] = namesOf(family);
  for (const [key, name] of Object.entries(names)) {
    const value = noted[key];
    if (value !== undefined) setOption(local, name, fromBase64(value), level);
  }
}

function namesOf(family: number): readonly [Names, number] {
  return family === AF.INET6 ? [OPTIONS_6, IPPROTO.IPV6] : [OPTIONS_4, IPPROTO.IP];
}
