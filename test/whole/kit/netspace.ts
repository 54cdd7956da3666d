/** Network namespaces of processes, filled and looked at from outside by iproute2. */
import { spawnSync } from 'node:child_process';
import { until } from './until.ts';

/** Runs a shell script in the network namespace of a process. Throws what it complains about. */
export function inNetwork(pid: number, script: string): string {
  const { stdout, stderr, status } = spawnSync('nsenter', ['-t', String(pid), '-n', 'sh', '-ec', script], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`in the network namespace of ${pid}: ${stderr}`);
  return stdout;
}

/** As {@link inNetwork}, in that of the tests themselves. */
export function outside(script: string): string {
  const { stdout, stderr, status } = spawnSync('sh', ['-ec', script], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** What changes by itself. */
const VOLATILE = new Set([
  ...['forward_delay_timer', 'hold_timer', 'message_age_timer', 'hello_timer', 'tcn_timer', 'gc_timer'],
  ...['topology_change_timer', 'valid_life_time', 'preferred_life_time', 'expires', 'link_netnsid', 'link_index'],
  ...['operstate', 'used', 'confirmed', 'updated', 'probes', 'state', 'stable-privacy', 'topology_change_detected'],
]);
/** Flags that follow from the state of another device, a moment later. */
const FOLLOWS = new Set(['LOWER_UP', 'NO-CARRIER', 'linkdown', 'M-DOWN']);

function settled(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => !FOLLOWS.has(item as string)).map(settled);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => (VOLATILE.has(key) ? [] : [[key, settled(member)]])),
  );
}

/** Lists whose order follows from when things became ready. */
function sorted(list: unknown): unknown {
  return Array.isArray(list) ? list.map((item) => JSON.stringify(item)).sort() : list;
}

/** Waits until all addresses of IPv6 may be used: until then the kernel looks for others that have them. */
export function ready(pid: number): Promise<true> {
  return until(
    () => (inNetwork(pid, 'ip -6 addr show tentative -dadfailed').trim() === '' ? true : undefined),
    8000,
    () => inNetwork(pid, 'ip addr'),
  );
}

/** What a network namespace has, by the command that tells. */
export function lookAt(pid: number): Record<string, unknown> {
  const json = (command: string): unknown => settled(JSON.parse(inNetwork(pid, command) || '[]'));
  const lines = (command: string): string[] => inNetwork(pid, command).split('\n');
  return {
    links: json('ip -j -d link'),
    addresses: json('ip -j addr'),
    routes: sorted(json('ip -j route show table all')),
    routes6: sorted(json('ip -j -6 route show table all')),
    rules: json('ip -j rule'),
    rules6: json('ip -j -6 rule'),
    neighbours: sorted(json('ip -j neigh show nud permanent')),
    proxies: json('ip -j neigh show proxy'),
    nexthops: json('ip -j nexthop'),
    forwarding: sorted(
      (json('bridge -j fdb') as { mac: string }[]).filter(({ mac }) => !/^(33:33|01:00:5e)/.test(mac)),
    ),
    filters: lines('nft -s list ruleset 2>/dev/null || true'),
    legacy: lines('iptables-legacy-save 2>/dev/null | grep -v "^#" || true'),
    tracked: lines('cat /proc/net/nf_conntrack 2>/dev/null | sed "s/ [0-9]* / /" || true'),
    sysctls: lines(
      'cd /proc/sys/net; find . -type f -perm /200 -perm /400 | sort | xargs grep -H "" 2>/dev/null | grep -v /gc_ || true',
    ),
  };
}
