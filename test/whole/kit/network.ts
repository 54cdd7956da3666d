/** What the kernel tells of the sockets of a victim, and of the network devices that it has made. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Victim } from './victim.ts';

/** Name of what is told → its value, as text. */
export type NetworkState = ReadonlyMap<string, string>;

/**
 * Lists of /proc/net, and their columns that stay: addresses, state, queues; and in which the inode is. Not the queues
 * of raw, netlink and packet sockets, which get what anybody on the machine causes: errors of ICMP, news of devices and
 * neighbours, requests of ARP.
 */
const LISTS: readonly { readonly name: string; readonly columns: readonly number[]; readonly inode: number }[] = [
  ...['tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'udplite6', 'icmp', 'icmp6'].map((name) => ({
    ...{ name, columns: [1, 2, 3, 4], inode: 9 },
  })),
  ...['raw', 'raw6'].map((name) => ({ name, columns: [1, 2, 3], inode: 9 })),
  { name: 'unix', columns: [3, 4, 5, 7], inode: 6 },
  { name: 'netlink', columns: [1, 2, 3, 5, 6], inode: 9 },
  { name: 'packet', columns: [2, 3, 4, 5], inode: 8 },
];

/** The sockets that the tasks of a victim have open, by inode, and its devices. */
export function networkState(victim: Victim): NetworkState {
  const own = new Set(victim.members().flatMap(socketsOf));
  const state = new Map<string, string>();
  for (const { name, columns, inode } of LISTS) {
    for (const line of linesOf(`/proc/net/${name}`)) {
      const fields = line.trim().split(/\s+/);
      const at = fields[inode] ?? '';
      if (own.has(at)) state.set(`${name} ${at}`, columns.map((column) => fields[column]).join(' '));
    }
  }
  for (const device of devicesOf(victim)) state.set(`device ${device.split(' ')[0]}`, device);
  return state;
}

/** Network devices that have the process ID of a victim at the end of their names, each with its flags. */
export function devicesOf({ pid }: Victim): string[] {
  const names = readdirSync('/sys/class/net').filter((name) => name === `stn${pid}` || name === `stp${pid}`);
  return names.map((name) => `${name} ${flagsOf(name)}`);
}

/** Flags of a tun or tap device, IFF_PERSIST among them. */
function flagsOf(device: string): string {
  const path = `/sys/class/net/${device}/tun_flags`;
  return existsSync(path) ? readFileSync(path, 'latin1').trim() : '';
}

function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return []; // closed meanwhile
    }
  });
}

function linesOf(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'latin1').split('\n').slice(1) : [];
}

/** The addresses (ports included) at which sockets of IP are, as /proc/net shows them: those of a state. */
export function addressesIn(state: NetworkState): Set<string> {
  const inet = [...state].filter(([name]) => /^(tcp|udp|raw|icmp)/.test(name));
  return new Set(inet.map(([name, value]) => `${name.split(' ')[0]} ${value.split(' ').slice(0, 2).join(' ')}`));
}

/** The same of all sockets of IP there are. Those of TCP that end in the background (TIME_WAIT) are not counted. */
export function allAddresses(): Set<string> {
  const found = new Set<string>();
  for (const { name, inode } of LISTS.filter(({ name }) => /^(tcp|udp|raw|icmp)/.test(name))) {
    for (const line of linesOf(`/proc/net/${name}`)) {
      const fields = line.trim().split(/\s+/);
      if (fields[inode] !== undefined && fields[3] !== '06') found.add(`${name} ${fields[1]} ${fields[2]}`);
    }
  }
  return found;
}
