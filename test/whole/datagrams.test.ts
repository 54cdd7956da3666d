/** Sockets of datagrams: UDP, UDPLite, ICMP, raw. */
import { expect, test } from 'bun:test';
import { stasis } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { Victim } from './kit/victim.ts';

/** Inode numbers are new ones. Whatever is bound to an address of IPv6 is IPV6_V6ONLY. */
const CHANGES = /\.isk\.(ino|v6only)$/;

victimSuite('datagrams', [{ victim: 'datagrams', images: [CHANGES] }]);

/** A program that makes a socket of UDP `s`, does `work` with it and waits; then it does `more`. */
function udp(work: string, more = ''): string[] {
  const program = [
    'import socket, sys, time',
    's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    work,
    "print('READY', s.getsockname()[1], flush=True)",
    'while not sys.stdin.read(): time.sleep(.01)',
    more,
    "print('PASS', flush=True)",
  ];
  return ['python3', '-c', program.join('\n')];
}

test('an address that was none of this machine when the socket was bound to it', async () => {
  // IP_FREEBIND, which is taken back.
  const bind = "s.setsockopt(0, 15, 1); s.bind(('192.0.2.99', 0)); s.setsockopt(0, 15, 0)";
  using victim = await Victim.run(udp(bind, "assert s.getsockname()[0] == '192.0.2.99' and not s.getsockopt(0, 15)"));
  await victim.dump();
  await victim.restore();
  await victim.verdict();
}, 20_000);

test('a part of a datagram that waits to be completed is refused, and stays', async () => {
  const cork = "s.bind(('127.0.0.1', 0)); s.connect(s.getsockname()); s.send(b'half', socket.MSG_MORE)";
  using victim = await Victim.run(udp(cork, "s.send(b' whole'); assert s.recv(99) == b'half whole'"));
  const { status, stderr } = await stasis([...victim.dumpLine(), '--json']);
  expect(status).toBe(1);
  expect(JSON.parse(stderr).obstacles).toMatchObject([{ code: 'SOCKET_UDP', fd: 3 }]);
  await victim.verdict();
}, 20_000);

test('a port that somebody else has is told before there is a process', async () => {
  using victim = await Victim.run(udp("s.bind(('127.0.0.1', 0))"));
  const port = /READY (\d+)/.exec(victim.output())?.[1];
  await victim.dump();
  {
    // Also if that one would share it.
    using _ = await Victim.run(udp(`s.setsockopt(1, 2, 1); s.bind(('127.0.0.1', ${port}))`));
    const { status, stderr } = await stasis([...victim.restoreLine(), '--json']);
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ code: 'SOCKET_PORT_TAKEN', kind: 'conflict' });
  }
  await victim.restore();
  await victim.verdict();
}, 30_000);
