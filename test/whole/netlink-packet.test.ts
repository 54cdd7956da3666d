/** Netlink and packet sockets. */
import { expect, test } from 'bun:test';
import { stasis } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { Victim } from './kit/victim.ts';

/** Inode numbers are new ones. */
const INODES = /\.nlsk\.ino$/;

victimSuite('netlink', [{ victim: 'netlinks', images: [INODES] }]);
victimSuite('packet', [{ victim: 'packetsocks' }]);

/** A program that does `work` with a netlink socket `s` of protocol `protocol`, and then waits. */
function netlink(work: string, protocol = 0): string[] {
  const program = [
    'import socket, struct, sys, time',
    `s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, ${protocol})`,
    work,
    "print('READY', s.getsockname()[0], flush=True)",
    'while not sys.stdin.read(): time.sleep(.01)',
    "print('PASS', flush=True)",
  ];
  return ['python3', '-c', program.join('\n')];
}

test('an answer that nobody has read is refused, and stays', async () => {
  const ask = "s.send(struct.pack('=IHHIIBxxx', 20, 18, 0x301, 1, 0, 0))";
  using victim = await Victim.run(netlink(ask));
  const { status, stderr } = await stasis([...victim.dumpLine(), '--json']);
  expect(status).toBe(1);
  expect(JSON.parse(stderr).obstacles).toMatchObject([{ code: 'SOCKET_NETLINK', fd: 3 }]);
  await victim.verdict();
}, 20_000);

test('a list that the kernel has not finished is refused, also if nothing of it waits', async () => {
  // A filter that takes nothing, and a list of all unix sockets (struct unix_diag_req).
  const ask = [
    'import ctypes',
    "code = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0))",
    "s.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))",
    "s.send(struct.pack('=IHHII', 40, 20, 0x301, 1, 0) + struct.pack('=BBHIIIII', 1, 0, 0, 0xffffffff, 0, 0, 0, 0))",
  ].join('\n');
  using victim = await Victim.run(netlink(ask, 4));
  const { status, stderr } = await stasis([...victim.dumpLine(), '--json']);
  expect(status).toBe(1);
  expect(JSON.parse(stderr).obstacles).toMatchObject([{ code: 'SOCKET_NETLINK', fd: 3 }]);
  await victim.verdict();
}, 20_000);

test('a port id that somebody else has is told before there is a process', async () => {
  const bind = 's.bind((0x7b000001, 0))';
  using victim = await Victim.run(netlink(bind, 2));
  await victim.dump();
  {
    using _ = await Victim.run(netlink(bind, 2));
    const { status, stderr } = await stasis([...victim.restoreLine(), '--json']);
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ code: 'SOCKET_PORT_TAKEN', kind: 'conflict' });
  }
  await victim.restore();
  await victim.verdict();
}, 30_000);
