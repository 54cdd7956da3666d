/**
 * The multicast groups that a socket has joined. The kernel lists groups by device and not by socket; but of each group
 * a socket tells whether it is a member, and from whom it wants to hear (MCAST_MSFILTER).
 */
import { fromBase64, toBase64 } from '../../../base/base64.ts';
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { DumpContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { MCAST, MCAST_MODE } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO } from '../../../kernel/constants/sockets.ts';
import { type JoinedGroup, parseIgmp, parseIgmp6 } from '../../../kernel/proc/multicast.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { askOption, setOption } from '../../../kernel/sockets.ts';
import { deviceIndex, deviceName } from '../../../network/devices.ts';
import { sockaddrOf } from '../../../network/end-fields.ts';
import type { MembershipNote } from './notes.ts';
import type { InetSocket, MadeSocket } from './protocol.ts';

/** Size of `struct sockaddr_storage`, and offset of the first one in the structs of the options. */
const ADDRESS = 128;
const AT = 8;
/** `struct group_filter`: device, group, mode, number of sources, and then these. */
const FILTER = { mode: AT + ADDRESS, count: AT + ADDRESS + 4, sources: AT + ADDRESS + 8 } as const;
/** As many sources are asked for at first, since few groups have any; the kernel tells how many there are. */
const USUAL = 1;

/** The groups somebody has joined, by family, without those that only the kernel has. */
const GROUPS = new Slot((_: DumpContext): Readonly<Record<number, readonly JoinedGroup[]>> => {
  const empty = new Uint8Array();
  return {
    [AF.INET]: parseIgmp(readProcIfAny('self', 'net/igmp') ?? empty).filter(isAnybodys),
    [AF.INET6]: parseIgmp6(readProcIfAny('self', 'net/igmp6') ?? empty).filter(isAnybodys),
  };
});

/**
 * The kernel joins some groups on every device: that of all hosts, 224.0.0.1, ff01::1 and ff02::1; and one for each
 * address of IPv6, ff02::1:ffXX:XXXX.
 */
function isAnybodys({ address, users }: JoinedGroup): boolean {
  if (users > 1) return true;
  if (address.length === 4) return address.join('.') !== '224.0.0.1';
  const isOfLink = address[0] === 0xff && (address[1] === 1 || address[1] === 2);
  const middle = address.subarray(2, 11).every((byte) => byte === 0);
  const isAll = middle && address.subarray(11, 15).every((byte) => byte === 0) && address[15] === 1;
  const isSolicited = middle && address[11] === 1 && address[12] === 0xff;
  return !(isOfLink && (isAll || isSolicited));
}

/** The groups a socket has joined. One of IPv6 may have joined groups of IPv4 as well. */
export function captureMemberships({ local, family }: InetSocket, context: DumpContext): MembershipNote[] {
  const families = family === AF.INET6 ? [AF.INET6, AF.INET] : [AF.INET];
  return families.flatMap((of) => (GROUPS.of(context)[of] ?? []).flatMap((group) => membership(local, group)));
}

function membership(local: LocalFd, group: JoinedGroup, most = USUAL): MembershipNote[] {
  const { device, address } = group;
  const family = familyOf(address);
  const request = new Uint8Array(FILTER.sources + most * ADDRESS);
  const view = new DataView(request.buffer);
  view.setUint32(0, device, true);
  request.set(addressOf(address), AT);
  view.setUint32(FILTER.count, most, true);
  const answer = askOption(local, MCAST.MSFILTER, request, levelOf(family));
  const name = answer && deviceName(local, device);
  if (!answer || name === undefined) return [];
  const told = new DataView(answer.buffer, answer.byteOffset);
  const count = told.getUint32(FILTER.count, true);
  if (count > most) return membership(local, group, count);
  const start = family === AF.INET ? 4 : 8;
  const sources = Array.from({ length: count }, (_, i) => {
    const at = FILTER.sources + i * ADDRESS + start;
    return toBase64(answer.subarray(at, at + address.length));
  });
  const only = told.getUint32(FILTER.mode, true) === MCAST_MODE.INCLUDE;
  return [{ group: toBase64(address), device: name, only, sources }];
}

/** Joins the groups that a socket had joined. @throws StasisError (conflict) if a device is not there */
export function joinGroups({ entry, note, local }: MadeSocket): void {
  for (const { group, device, only, sources } of note.memberships ?? []) {
    const index = deviceIndex(local, device);
    if (index === undefined) {
      throw new StasisError({
        kind: 'conflict',
        code: 'SOCKET_DEVICE_MISSING',
        resource: `socket:[${entry.ino}]`,
        reason: `it had joined a multicast group on the network device ${device}, which is not there`,
        remedy: `make the device, or give one this name (ip link set dev DEVICE name ${device})`,
      });
    }
    const address = fromBase64(group);
    const level = levelOf(familyOf(address));
    if (!only) setOption(local, MCAST.JOIN_GROUP, request(index, address), level);
    const change = only ? MCAST.JOIN_SOURCE_GROUP : MCAST.BLOCK_SOURCE;
    for (const source of sources) setOption(local, change, request(index, address, fromBase64(source)), level);
  }
}

/** `struct group_req`, or `group_source_req`. */
function request(device: number, group: Uint8Array, source?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(AT + (source ? 2 : 1) * ADDRESS);
  new DataView(bytes.buffer).setUint32(0, device, true);
  bytes.set(addressOf(group), AT);
  if (source) bytes.set(addressOf(source), AT + ADDRESS);
  return bytes;
}

function familyOf(address: Uint8Array): number {
  return address.length === 4 ? AF.INET : AF.INET6;
}

function levelOf(family: number): number {
  return family === AF.INET ? IPPROTO.IP : IPPROTO.IPV6;
}

function addressOf(address: Uint8Array): Uint8Array {
  const words = [...new Uint32Array(address.slice().buffer)];
  return sockaddrOf(familyOf(address), { port: 0, words });
}
