/** Network namespaces: what is in them is there again after a restore, and as it was. */
import { expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { victimBinary } from './kit/compile.ts';
import { inNetwork, lookAt, outside, ready } from './kit/netspace.ts';
import { stasis } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

const LIMIT = 60_000;

/** A victim in network namespaces of its own, the first of which a script has filled. */
async function start(script: string, count = 1): Promise<Victim> {
  const victim = await Victim.start('netspaces', [String(count)]);
  if (!victim.skipped) inNetwork(victim.pid, script);
  return victim;
}

/** Dumps and restores, and compares the namespaces of all processes. */
async function compareCycle(victim: Victim, options: Parameters<Victim['cycle']>[0] = {}): Promise<void> {
  writeFileSync(join(victim.cwd, 'look'), '');
  await goOn();
  const pids = victim.members();
  await Promise.all(pids.map(ready));
  const before = pids.map(lookAt);
  await victim.cycle(options);
  expect(pids.map(lookAt)).toEqual(before);
}

/** Tries to connect to a port where nobody listens: the refusal shows that the way there and back is open. */
function knock(address: string): string {
  return `timeout 5 bash -c 'exec 3<> /dev/tcp/${address}/9' 2>&1 || true`;
}

/** What a namespace can have, by what it is about. */
const CONTENTS: Readonly<Record<string, string>> = {
  'nothing but lo, down': 'true',
  'lo without its address': 'ip link set lo up; ip addr del 127.0.0.1/8 dev lo',
  'a bridge with ports': `
    ip link add br0 type bridge forward_delay 500 ageing_time 5000 mcast_snooping 0 group_fwd_mask 8
    ip link add v0 type veth peer name v1; ip link set v1 master br0
    bridge link set dev v1 hairpin on learning off; bridge fdb add 02:bb:00:00:00:01 dev v1 master static
    bridge fdb add 02:bb:00:00:00:02 dev br0 self local
    ip link set v0 address 02:00:00:00:00:11 mtu 1400 txqueuelen 77 alias 'an alias'
    ip link property add dev v1 altname another-name-that-is-longer
    ip addr add 10.2.0.1/16 dev br0 valid_lft 5000 preferred_lft 4000
    for d in v0 v1 br0; do ip link set $d up; done`,
  'devices that are stacked': `
    ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; ip addr add 10.1.1.1/24 dev v0
    ip link add mv0 link v0 type macvlan mode bridge; ip link set mv0 up; ip addr add 10.3.0.1/24 dev mv0
    ip link add mt0 link v0 type macvtap mode vepa
    ip link add vx0 type vxlan id 77 dstport 4789 remote 10.1.1.5 dev v0 ttl 9 nolearning; ip link set vx0 up
    bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.1.77; bridge fdb append 02:aa:00:00:00:01 dev vx0 dst 10.1.1.78
    ip link add vx1 type vxlan external dstport 4790
    ip link add ifb7 type ifb`,
  'tun and tap devices without a descriptor': `
    ip tuntap add tp0 mode tap user 1000 multi_queue vnet_hdr; ip link set tp0 address 02:00:00:00:00:77
    ip tuntap add tn0 mode tun; ip addr add 10.77.0.1/24 dev tn0; ip link set tn0 up`,
  'addresses and routes': `
    ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
    ip addr add 10.1.1.1/24 brd + dev v0; ip addr add 10.1.1.9/24 dev v0 label v0:x
    ip addr add 10.9.0.1 peer 10.9.0.2 dev v1; ip addr add fd00:1::1/64 dev v0 nodad
    ip addr add fd00:1::7/64 dev v0 noprefixroute nodad
    ip nexthop add id 5 via 10.1.1.20 dev v0; ip nexthop add id 6 via 10.1.1.21 dev v0; ip nexthop add id 7 group 5/6
    ip route add 10.33.0.0/16 nhid 5; ip route add 10.34.0.0/16 nhid 7
    ip route add 172.16.0.0/12 via 10.1.1.2 metric 7; ip route add 172.16.0.0/12 via 10.1.1.3 metric 9
    ip route add 192.168.0.0/16 nexthop via 10.1.1.2 weight 2 nexthop via 10.1.1.3
    ip route add 10.55.0.0/16 via 10.1.1.2 table 77; ip route add blackhole 10.66.0.0/16
    ip route add 10.44.0.0/16 via 172.16.5.5 onlink dev v0 mtu 1300; ip route add 10.45.0.0/16 via 10.44.0.9 onlink dev v0
    ip -6 route add fd00:9::/64 via fd00:1::2; ip -6 route add default via fd00:1::3 expires 3000
    ip rule add from 10.1.1.1 table 77 prio 100; ip rule del from all table default
    ip -6 rule add from fd00:1::1 table 77
    ip neigh add 10.1.1.50 lladdr 02:00:00:00:00:50 dev v0; ip neigh add proxy 10.1.1.60 dev v0
    ip -6 neigh add fd00:1::50 lladdr 02:00:00:00:00:51 dev v0`,
  settings: `
    ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
    put() { echo "$2" > /proc/sys/net/$1; }
    put ipv4/ip_forward 1; put ipv4/conf/default/rp_filter 1; put ipv4/conf/v0/rp_filter 2
    put ipv4/conf/lo/accept_local 1; put ipv4/conf/v0/arp_evict_nocarrier 0; put ipv6/conf/v0/accept_ra 0
    put ipv6/conf/all/forwarding 1; put ipv6/conf/v0/forwarding 0; put ipv6/conf/v1/disable_ipv6 1
    put ipv6/conf/v0/mtu 1400; put ipv6/conf/default/accept_dad 0; put ipv6/conf/v0/addr_gen_mode 1
    put core/somaxconn 123; put ipv4/ip_local_port_range '20000 30000'; put unix/max_dgram_qlen 99
    put ipv4/ping_group_range '0 5'; put ipv4/neigh/v0/delay_first_probe_time 7; put ipv4/tcp_keepalive_time 777
    put ipv4/ip_local_reserved_ports 5000-5010`,
  'a secret for addresses': `
    ip link add v0 type veth peer name v1; echo fd00:0:0:1:2:3:4:5 > /proc/sys/net/ipv6/conf/v0/stable_secret
    ip link set v0 up; ip link set v1 up; sleep 2`,
};

for (const [what, script] of Object.entries(CONTENTS)) {
  test(
    what,
    async () => {
      using victim = await start(script);
      if (victim.skipped) return;
      await compareCycle(victim);
      await victim.verdict();
    },
    LIMIT,
  );
}

test(
  'an address of which it is not known yet whether others have it',
  async () => {
    // Nothing is found out while there is no carrier.
    using victim = await start(`
      ip link add v0 type veth peer name v1; ip link set v0 up
      ip addr add fd00:1::1/64 dev v0; ip addr add fd00:1::2/64 dev v0 nodad`);
    if (victim.skipped) return;
    // It is made after the others, so that it comes first afterwards.
    const look = (): string[] => inNetwork(victim.pid, 'ip -6 -o addr').split('\n').sort();
    const before = look();
    expect(before.join()).toContain('tentative');
    await victim.cycle();
    expect(look()).toEqual(before);
    inNetwork(victim.pid, 'ip link set v1 up');
    await ready(victim.pid);
    await victim.verdict();
  },
  LIMIT,
);

const RULESET = `
table inet t {
  counter cn { packets 5 bytes 55; }
  set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.1.1 } }
  set d { type ipv4_addr . inet_service; elements = { 1.2.3.4 . 80 } }
  map m { type inet_service : verdict; elements = { 22 : accept, 23 : jump c2 } }
  chain c2 { counter packets 7 bytes 9 accept; }
  chain c { type filter hook input priority 5; policy drop;
    iif lo accept
    ip saddr { 1.1.1.1, 2.2.2.2 } tcp dport vmap { 80 : accept, 81 : drop }
    ip saddr @s counter name cn limit rate 5/second accept comment "hello"
    tcp dport vmap @m
    ct state established accept
  }
}
table ip nat { chain post { type nat hook postrouting priority 100; oifname "x" masquerade; }; }
`;

test(
  'packet filters, and the connections they track',
  async () => {
    const script = `
      ip link set lo up; ip addr add 10.9.9.9/24 dev lo
      printf '%s' "$RULESET" | nft -f -
      ! command -v iptables-legacy > /dev/null || {
        iptables-legacy -P FORWARD DROP; iptables-legacy -A INPUT -p tcp --dport 99 -j ACCEPT; }
      ${knock('10.9.9.9')}`;
    using victim = await start(script.replace('"$RULESET"', `'${RULESET}'`));
    if (victim.skipped) return;
    await compareCycle(victim);
    await victim.verdict();
  },
  LIMIT,
);

test(
  'pairs of devices across namespaces, which know one another by IDs',
  async () => {
    using victim = await start('true', 3);
    if (victim.skipped) return;
    const [first = 0, second = 0, third = 0] = victim.members().sort((a, b) => a - b);
    outside(`
      nsenter -t ${first} -n ip link add a0 type veth peer name b0 netns ${second}
      nsenter -t ${third} -n ip link add c0 type veth peer name b1 netns ${second}
      nsenter -t ${second} -n ip link add mv0 link b0 type macvlan mode bridge
      nsenter -t ${second} -n ip link set mv0 netns ${third}
      nsenter -t ${first} -n ip addr add 10.5.0.1/24 dev a0; nsenter -t ${first} -n ip link set a0 up
      nsenter -t ${second} -n ip addr add 10.5.0.2/24 dev b0; nsenter -t ${second} -n ip link set b0 up
      nsenter -t ${second} -n ip link set b1 up; nsenter -t ${third} -n ip link set c0 up
      nsenter -t ${third} -n ip link set mv0 up; nsenter -t ${third} -n ip addr add 10.5.0.3/24 dev mv0
      nsenter -t ${first} -n ip route add 10.6.0.0/16 via 10.5.0.2`);
    await compareCycle(victim);
    for (const address of ['10.5.0.2', '10.5.0.3']) expect(inNetwork(first, knock(address))).toContain('refused');
    await victim.verdict();
  },
  LIMIT,
);

/** Names of devices outside, which are removed in any case. */
class Outside implements Disposable {
  readonly #names: string[] = [];

  name(prefix: string, { pid }: Victim): string {
    const name = `${prefix}${pid}`;
    this.#names.push(name);
    return name;
  }

  [Symbol.dispose](): void {
    for (const name of this.#names) outside(`ip link delete ${name} 2> /dev/null || true`);
  }
}

const SERVER = `
import socket
server = socket.create_server(('', 7000))
print('READY', flush=True)
peer, _ = server.accept()
while peer.recv(1): pass
`;

/** Sends segments of an open connection without a pause, and prints a line for each reset that comes back. */
const PROBE = `
import socket, struct, sys
where = (sys.argv[1], 7000)
peer = socket.create_connection(where)
port = peer.getsockname()[1]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.setblocking(False)
def add(data): return sum(struct.unpack('!%dH' % (len(data) // 2), data))
ends = socket.inet_aton(peer.getsockname()[0]) + socket.inet_aton(where[0])
def segment(check): return struct.pack('!HHIIBBHHH', port, 7000, 1, 1, 0x50, 0x10, 1000, check, 0)
total = add(ends + struct.pack('!HH', 6, 20) + segment(0))
while total >> 16: total = (total & 0xffff) + (total >> 16)
ack = segment(~total & 0xffff)
print('READY', flush=True)
while True:
    try: raw.sendto(ack, where)
    except OSError: pass
    try:
        while True:
            packet = raw.recv(2048)[20:]
            if packet[13] & 4 and struct.unpack('!HH', packet[:4]) == (7000, port): print('RESET', flush=True)
    except BlockingIOError: pass
`;

test(
  'a namespace that ends with its tree does not reset the connections that were saved',
  async () => {
    using own = new Outside();
    for (let turn = 0; turn < 5; turn++) {
      using victim = await Victim.run(['python3', '-c', SERVER], { unshare: ['--net', '--pid', '--ipc', '--uts'] });
      const name = own.name('sto', victim);
      outside(`
        ip link add ${name} type veth peer name eth0 netns ${victim.pid}
        ip addr add 198.18.83.1/30 dev ${name}; ip link set ${name} up`);
      inNetwork(victim.pid, 'ip link set lo up; ip addr add 198.18.83.2/30 dev eth0; ip link set eth0 up');
      const probe = spawn('python3', ['-c', PROBE, '198.18.83.2'], { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        let said = '';
        probe.stdout.on('data', (bytes) => {
          said += bytes;
        });
        await until(
          () => (said.includes('READY') ? true : undefined),
          10_000,
          () => `the probe says ${said}`,
        );
        await victim.dump(['--tcp-established', '--shell-job', '--external', `veth[eth0]:${name}`]);
        await goOn(500);
        expect(said).toBe('READY\n');
      } finally {
        probe.kill('SIGKILL');
      }
    }
  },
  LIMIT,
);

test(
  'a pair of devices with an end outside needs a name for it',
  async () => {
    using victim = await start('true');
    if (victim.skipped) return;
    using devices = new Outside();
    const [outer, bridge] = [devices.name('sto', victim), devices.name('stb', victim)];
    outside(`
      ip link add ${bridge} type bridge; ip link set ${bridge} up; ip addr add 198.18.77.1/24 dev ${bridge}
      ip link add ${outer} type veth peer name eth0 netns ${victim.pid}
      ip link set ${outer} master ${bridge} up`);
    inNetwork(
      victim.pid,
      'ip addr add 198.18.77.2/24 dev eth0; ip link set eth0 up; ip route add default via 198.18.77.1',
    );
    await ready(victim.pid);
    const before = lookAt(victim.pid);
    await victim.dump();
    const refused = await stasis(victim.restoreLine());
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('network device eth0: its other end is outside of the tree');
    expect(refused.stderr).toContain(`--external 'veth[eth0]:NAME'`);
    expect(victim.exists()).toBe(false);
    await victim.restore(['--external', `veth[eth0]:${outer}@${bridge}`]);
    expect(lookAt(victim.pid)).toEqual(before);
    expect(outside(knock('198.18.77.2'))).toContain('refused');
    await victim.verdict();
  },
  LIMIT,
);

test(
  'devices are moved in, or made on top of one outside',
  async () => {
    using victim = await start('true');
    if (victim.skipped) return;
    using devices = new Outside();
    const [lower, other, spare] = ['stl', 'stm', 'str'].map((prefix) => devices.name(prefix, victim));
    outside(`
      ip link add ${lower} type veth peer name ${other}; ip link set ${lower} up; ip link set ${other} up
      ip link add mv${victim.pid} link ${lower} type macvlan mode bridge
      ip link set mv${victim.pid} netns ${victim.pid} name mv0`);
    inNetwork(
      victim.pid,
      'ip tuntap add hw0 mode tap; ip addr add 198.18.78.2/24 dev mv0; ip link set mv0 up; ip link set hw0 up',
    );
    await ready(victim.pid);
    const before = lookAt(victim.pid);
    await victim.dump();
    outside(`ip tuntap add ${spare} mode tap`);
    await victim.restore(['--external', `macvlan[mv0]:${lower}`, '--external', `netdev[hw0]:${spare}`]);
    expect(lookAt(victim.pid)).toEqual(before);
    await victim.verdict();
  },
  LIMIT,
);

test(
  'a failed restore leaves no device outside, and gives one back',
  async () => {
    using victim = await start('true');
    if (victim.skipped) return;
    using devices = new Outside();
    const [outer, spare] = [devices.name('sto', victim), devices.name('str', victim)];
    outside(`ip link add ${outer} type veth peer name eth0 netns ${victim.pid}`);
    inNetwork(victim.pid, 'ip tuntap add hw0 mode tap; ip tuntap add hw1 mode tap');
    await victim.dump();
    outside(`ip tuntap add ${spare} mode tap`);
    const external = [`veth[eth0]:${outer}`, `netdev[hw0]:${spare}`, `netdev[hw1]:none${victim.pid}`];
    const failed = await stasis(victim.restoreLine(external.flatMap((key) => ['--external', key])));
    expect(failed.stderr).toContain(`network device hw1: there is no network device none${victim.pid} outside`);
    expect(failed.status).not.toBe(0);
    // A network namespace that nobody is in is taken apart by a worker of the kernel (cleanup_net()), a moment later.
    const names = (): string => outside('ip -br link');
    await until(
      () => (names().includes(outer) ? undefined : true),
      5000,
      () => `${outer} is left outside`,
    );
    expect(names()).toContain(spare);
  },
  LIMIT,
);

test(
  '--empty-ns leaves it to others what is in a namespace',
  async () => {
    using victim = await start('ip link add v0 type veth peer name v1; ip link set lo up');
    if (victim.skipped) return;
    await victim.dump(['--empty-ns', 'net']);
    await victim.restore(['--empty-ns', 'net']);
    expect(inNetwork(victim.pid, 'ip -br link')).not.toContain('v0');
    await victim.verdict();
  },
  LIMIT,
);

test(
  'queueing disciplines that somebody has chosen are told of',
  async () => {
    using victim = await start(`
      ip link add v0 type veth peer name v1; ip link set v0 up
      tc qdisc add dev v0 root tbf rate 1mbit burst 10k limit 10k`);
    if (victim.skipped) return;
    const { stderr } = await victim.dump();
    expect(stderr).toContain('network device v0: its queueing discipline tbf is not carried');
    await victim.restore();
    await victim.verdict();
  },
  LIMIT,
);

test(
  'connections that the filters of the namespace would not let come into their states',
  async () => {
    const words = ['sh', '-c', 'ip link set lo up; exec "$@"', 'sh', victimBinary('tcpstates'), '4'];
    using victim = await Victim.run(words, { unshare: ['--net'] });
    const shut = `
      nft 'add table inet shut; add chain inet shut in { type filter hook input priority 0; policy drop; }'
      if command -v iptables-legacy > /dev/null; then iptables-legacy -w -P INPUT DROP; fi`;
    inNetwork(victim.pid, shut);
    const filters = (): string => {
      const { filters, legacy } = lookAt(victim.pid);
      return JSON.stringify([filters, legacy]).replace(/\[\d+:\d+\]/g, ''); // counters go on
    };
    const before = filters();
    for (const _ of [1, 2]) await victim.cycle({ dump: ['--tcp-established'], restore: ['--tcp-established'] });
    expect(filters()).toEqual(before);
    const open = 'nft delete table inet shut; iptables-legacy -w -P INPUT ACCEPT 2> /dev/null || true';
    inNetwork(victim.pid, open);
    await victim.verdict();
  },
  LIMIT,
);
