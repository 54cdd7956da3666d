/** Connections of TCP that use ECN. */
import { describe, expect, test } from 'bun:test';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inNetwork } from './kit/netspace.ts';
import { stasisOk } from './kit/stasis.ts';
import { goOn, Victim } from './kit/victim.ts';

const CARRY = ['--tcp-established'] as const;

/** Marks what comes in and can be marked: congestion experienced. */
const MARK = [
  'nft add table inet marks',
  "nft 'add chain inet marks in { type filter hook input priority 0; }'",
  'nft add rule inet marks in ip ecn ect0 ip ecn set ce',
  'nft add rule inet marks in ip6 ecn ect0 ip6 ecn set ce',
].join('\n');

/** A log, which notices are in. */
const logOf = (victim: Victim, name: string): string => readFileSync(join(victim.images, name), 'utf8');

describe('with both ends in the tree', () => {
  for (const family of ['4', '6', 'mapped']) {
    test(`${family}: they go on with it`, async () => {
      using victim = await Victim.start('tcpecn', [family], { unshare: ['--net'] });
      if (victim.skipped) return;
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.cycle({ dump: CARRY, restore: CARRY });
        expect(logOf(victim, 'restore.log')).not.toContain('without ECN');
        await goOn();
      }
      inNetwork(victim.pid, MARK);
      await victim.verdict();
    }, 120_000);
  }
});

/** What a connection has agreed on, and how often its end was told of marks. */
const PEER = [
  'import socket, struct, sys, time',
  'def agreed(s): return s.getsockopt(6, 11, 192)[5] & 15',
  "def marks(s): return struct.unpack_from('I', s.getsockopt(6, 11, 200), 196)[0]",
];

/** The end in the tree: says `agreed`, exchanges bytes when asked, and is told of marks. */
const TREE = [
  ...PEER,
  'def end(c):',
  "  before = agreed(c); print('READY', before, flush=True)",
  '  while not sys.stdin.read(): time.sleep(.01)',
  "  if agreed(c) != before: print('FAIL:', before, agreed(c), flush=True)",
  "  got = b''",
  '  for i in range(20):',
  "    c.sendall(b'a' * 2000)",
  '    while len(got) < 2000 * (i + 1): got += c.recv(9999)',
  "  print('PASS' if got == b'A' * 40000 and marks(c) else 'FAIL: %d, %d' % (len(got), marks(c)), flush=True)",
];

/** The end outside of it: sends back what comes, in capitals, and says how often it was told of marks. */
const OUTSIDE = [
  ...PEER,
  'def end(c):',
  "  print('AGREED', agreed(c), flush=True)",
  '  while True:',
  '    got = c.recv(9999)',
  '    if not got: break',
  '    c.sendall(got.upper())',
  "    print('MARKS', marks(c), flush=True)",
];

const ADDRESSES = { IPv4: ['AF_INET', '127.0.0.1'], IPv6: ['AF_INET6', '::1'] } as const;

for (const [name, [family, address]] of Object.entries(ADDRESSES)) {
  const listens = [
    `s = socket.socket(socket.${family}); s.bind(('${address}', 7000)); s.listen(5)`,
    "print('LISTENS', flush=True)",
    'c, _ = s.accept(); end(c)',
  ];
  const connects = [`c = socket.create_connection(('${address}', 7000)); end(c)`];
  const python = (...lines: readonly string[]): string[] => ['python3', '-c', lines.join('\n')];

  describe(`${name}: with one end outside of the tree`, () => {
    for (const how of ['accepted', 'asked for'] as const) {
      test(`${how} by the tree`, async () => {
        // The namespace belongs to a process of its own, and Stasis is in it, too.
        using home = await Victim.run(['sh', '-c', 'echo READY; exec sleep 1000'], { unshare: ['--net'] });
        inNetwork(home.pid, `ip link set lo up; echo 1 >/proc/sys/net/ipv4/tcp_ecn`);
        const enter = ['-t', String(home.pid), '-n'];
        const wrapper = ['nsenter', ...enter];
        const isServer = how === 'accepted';
        const start = (lines: readonly string[]): Promise<Victim> =>
          Victim.run(python(...lines), { enter, silent: true });
        using first = await start(isServer ? [...TREE, ...listens] : [...OUTSIDE, ...listens]);
        await first.waitFor(/^LISTENS/m, 5000);
        using second = await start(isServer ? [...OUTSIDE, ...connects] : [...TREE, ...connects]);
        const [tree, other] = isServer ? [first, second] : [second, first];
        await tree.waitFor(/^READY 15/m, 5000);
        await other.waitFor(/^AGREED 15/m, 5000);
        for (let cycle = 0; cycle < 3; cycle++) {
          await tree.dump(CARRY, { wrapper });
          await tree.restore(CARRY, { wrapper });
          expect(logOf(tree, 'restore.log')).not.toContain('without ECN');
        }
        inNetwork(home.pid, MARK);
        appendFileSync(join(tree.dir, 'ask'), 'ask\n');
        await tree.waitFor(/^(PASS|FAIL)/m, 9000);
        expect(tree.output()).toMatch(/^PASS/m);
        expect(Number(/MARKS (\d+)\n$/.exec(other.output())?.[1])).toBeGreaterThan(0);
      }, 120_000);
    }
  });
}

test('where ECN is turned off they go on without, which is told', async () => {
  using victim = await Victim.start('tcpecn', ['4'], { unshare: ['--net'] });
  if (victim.skipped) return;
  inNetwork(victim.pid, 'echo 0 >/proc/sys/net/ipv4/tcp_ecn');
  await victim.dump(CARRY);
  // The victim itself does not put up with that.
  const { stderr } = await stasisOk(victim.restoreLine(CARRY));
  expect(stderr).toContain('goes on without ECN, which this machine does not allow');
}, 60_000);
