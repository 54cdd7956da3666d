/**
 * `npm run proof:link -- [CYCLES]`: a busy connection between two hosts, over a link that loses, delays and reorders
 * packets. One end is dumped and restored again and again, 100 times as a rule; every byte has to come, in both
 * directions. Needs root. The hosts are network namespaces, which are removed at the end; the link is a program between
 * two tun devices, since not every kernel has netem.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPackages, onPath } from './debian.mjs';
import { home, run } from './setup.mjs';

const CYCLES = Number(process.argv[2] ?? 100);
const [SERVER, CLIENT] = ['stasis-link-1', 'stasis-link-2'];
const DEVICES = ['stasis-link-1', 'stasis-link-2'];
const ADDRESS = '198.18.78.1';
const stasis = join(home, 'dist', 'stasis');

/** Sends numbers and reads those of the other end, each 8 bytes, at the same time, until it is told to end by EOF. */
const ENDS = `
import socket, struct, sys, threading
def send(s, stop):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
    n = 0
    while not stop.is_set():
        s.sendall(b''.join(struct.pack('>Q', n + i) for i in range(512))); n += 512
        stop.wait(0.002)
    s.shutdown(socket.SHUT_WR)
def receive(s):
    n, rest = 0, b''
    while True:
        got = s.recv(65536)
        if not got: break
        rest += got
        whole = len(rest) // 8
        for (value,) in struct.iter_unpack('>Q', rest[:whole * 8]):
            if value != n: print('FAIL', value, 'in place of', n, flush=True); sys.exit(1)
            n += 1
        rest = rest[whole * 8:]
    return n
`;
/** Carries packets from one device to the other, each after 4 to 12 ms, so that some overtake others; 1 % are lost. */
const LINK = `
import fcntl, heapq, os, random, select, struct, time
ends = []
for name in ${JSON.stringify(DEVICES)}:
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', name.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    ends.append(fd)
print('READY', flush=True)
waiting, count = [], 0
while True:
    now = time.monotonic()
    ready, _, _ = select.select(ends, [], [], max(0, waiting[0][0] - now) if waiting else None)
    for fd in ready:
        packet = os.read(fd, 65536)
        if random.random() < 0.01: continue
        count += 1
        to = ends[1 - ends.index(fd)]
        heapq.heappush(waiting, (time.monotonic() + random.uniform(0.004, 0.012), count, to, packet))
    while waiting and waiting[0][0] <= time.monotonic():
        _, _, to, packet = heapq.heappop(waiting)
        try: os.write(to, packet)
        except OSError: pass  # the device is down, or its queue is full: lost as well
`;
const SERVE = `${ENDS}
listening = socket.create_server(('${ADDRESS}', 7000)); print('READY', flush=True)
s, _ = listening.accept()
stop = threading.Event(); threading.Thread(target=send, args=(s, stop)).start()
n = receive(s); stop.set()
`;
const ASK = `${ENDS}
s = socket.create_connection(('${ADDRESS}', 7000))
stop = threading.Event(); t = threading.Thread(target=send, args=(s, stop)); t.start()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
n = receive(s); print('GOT', n, flush=True)
`;

function must(command, ...args) {
  const { status, stderr, stdout, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim() + stdout}`);
  return stdout;
}

/** For nsenter(1): the network of a host alone, since ip-netns(8) makes a mount namespace as well. */
const within = (host) => [`--net=/run/netns/${host}`];

/** Starts a program in a namespace, in a session of its own. */
function start(host, code, stdin, stdout) {
  return spawn('nsenter', [...within(host), '/usr/bin/python3', '-c', code], {
    stdio: [stdin, stdout, 'inherit'],
    detached: true,
  });
}

/** Makes both hosts and the link between them. Returns the program that is the link. */
async function makeHosts() {
  const link = spawn('/usr/bin/python3', ['-c', LINK], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(link.stdout, 'data');
  for (const [index, host] of [SERVER, CLIENT].entries()) {
    const device = DEVICES[index];
    must('ip', 'netns', 'add', host);
    must('ip', 'link', 'set', device, 'netns', host);
    must('ip', '-n', host, 'address', 'add', `198.18.78.${index + 1}/24`, 'dev', device);
    must('ip', '-n', host, 'link', 'set', device, 'up');
    must('ip', '-n', host, 'link', 'set', 'lo', 'up');
  }
  return link;
}

async function main() {
  if (!onPath('ip') && !installPackages(['iproute2'])) throw new Error('iproute2 is missing');
  if (!existsSync(stasis) && !run(process.execPath, [join(home, 'scripts', 'build.mjs')])) process.exit(1);
  const images = mkdtempSync(join(tmpdir(), 'stasis-link-'));
  const ends = [];
  let server;
  try {
    ends.push(await makeHosts());
    // Its output is a file: a pipe's other end would be outside of the tree.
    server = start(SERVER, SERVE, 'ignore', 'ignore');
    ends.push(server);
    await sleep(500);
    const client = start(CLIENT, ASK, 'pipe', 'pipe');
    ends.push(client);
    let said = '';
    client.stdout.on('data', (data) => {
      said += data;
    });
    await sleep(500);
    const root = server.pid;
    const times = { dump: 0, restore: 0 };
    for (let cycle = 1; cycle <= CYCLES; cycle++) {
      if (said) throw new Error(`before cycle ${cycle} the client said: ${said}`);
      const dir = join(images, `${cycle}`);
      mkdirSync(dir);
      const line = [...within(SERVER), stasis];
      let began = performance.now();
      must('nsenter', ...line, 'dump', '-t', `${root}`, '-D', dir, '--tcp-established');
      times.dump += performance.now() - began;
      await sleep(20 + 200 * Math.random());
      began = performance.now();
      must('nsenter', ...line, 'restore', '-d', '-D', dir, '--tcp-established');
      times.restore += performance.now() - began;
      rmSync(dir, { recursive: true });
      await sleep(50 + 200 * Math.random());
      if (process.stdout.isTTY) process.stdout.write(`\rcycle ${cycle} of ${CYCLES} `);
    }
    client.stdin.end();
    const ended = new Promise((resolve) => client.once('exit', resolve));
    const status = await Promise.race([ended, sleep(60_000, 'nothing after a minute')]);
    if (status !== 0 || !said.startsWith('GOT')) throw new Error(`the client ended with ${status}; it said: ${said}`);
    const each = (sum) => `${Math.round(sum / CYCLES)} ms`;
    console.log(`\n${CYCLES} cycles, each dump ${each(times.dump)}, each restore ${each(times.restore)};`);
    console.log(
      `${said.trim().split(' ')[1]} numbers came in order from the restored end, and its own reader found no fault.`,
    );
  } finally {
    for (const { pid } of ends) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    for (const host of [SERVER, CLIENT]) spawnSync('ip', ['netns', 'delete', host]);
    rmSync(images, { recursive: true, force: true });
  }
}

await main().catch((error) => {
  console.error(`Error: ${error.message}`);
  process.exit(1);
});
