/** /proc/net/igmp and igmp6: the multicast groups that sockets, or the kernel itself, have joined. Pure. */
import { decodeText } from '../../base/text.ts';

/** A group that was joined by way of a network device. */
export interface JoinedGroup {
  /** The index of the device. */
  readonly device: number;
  /** 4 or 16 bytes, in network order. */
  readonly address: Uint8Array;
  /** How many have joined it. The kernel itself counts as one. */
  readonly users: number;
}

/** Reads /proc/net/igmp (net/ipv4/igmp.c, `igmp_mc_seq_show()`): a line for each device, then one for each group. */
export function parseIgmp(bytes: Uint8Array): JoinedGroup[] {
  const found: JoinedGroup[] = [];
  let device = 0;
  for (const line of decodeText(bytes).split('\n')) {
    const head = /^(\d+)\s/.exec(line);
    if (head) device = Number(head[1]);
    const group = /^\s+([\dA-F]{8})\s+(\d+)/.exec(line);
    if (!group) continue;
    // A number of 32 bits in the order of the machine, whose bytes in memory are the address.
    const address = new Uint8Array(new Uint32Array([Number.parseInt(group[1] ?? '', 16)]).buffer);
    found.push({ device, address, users: Number(group[2]) });
  }
  return found;
}

/** Reads /proc/net/igmp6 (net/ipv6/mcast.c, `igmp6_mc_seq_show()`). */
export function parseIgmp6(bytes: Uint8Array): JoinedGroup[] {
  return decodeText(bytes)
    .split('\n')
    .flatMap((line) => {
      const [, device, address, users] = /^(\d+)\s+\S+\s+([\da-f]{32})\s+(\d+)/.exec(line) ?? [];
      if (address === undefined) return [];
      return [{ device: Number(device), address: new Uint8Array(Buffer.from(address, 'hex')), users: Number(users) }];
    });
}
