/**
 * `npm run demo:migrate`: live migration, as in CRIU's talks with p.haul. Two hosts, each with processes, mounts and a
 * network of its own and no folder for images; on the first one a server with 1 GiB of memory, of which 5 %
 * changes each second (in runs of 64 KiB), and a client that talks to it all the time over one connection. It moves
 * to the other host; the client notices a pause. At the end all memory is compared with what was written.
 * `-- --tls`: with TLS and certificates at both sides. `-- --mib N`, `-- --percent N`: another size, another pace.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from './hosts.mjs';
import { cleanups, runScript } from './main.mjs';
import { home } from './setup.mjs';

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const MIB = option('mib', 1024);
const PERCENT = option('percent', 5);
const TLS = process.argv.includes('--tls');
const SERVER = { address: '198.18.78.1', port: 5312 };
const CONTROL = { a: '198.18.79.1', b: '198.18.80.1', port: 7000 };
const STASIS = join(home, 'dist/stasis');

/** Starts a process that nobody waits for, in new namespaces; answers the PID of the one inside. */
async function place(...kinds) {
  const outer = spawn('unshare', [...kinds, '--fork', '--kill-child', 'sleep', '3600'], { stdio: 'ignore' });
  cleanups.push(() => outer.kill('SIGKILL'));
  for (let turn = 0; turn < 100; turn++) {
    const inner = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'latin1').trim();
    if (inner && readFileSync(`/proc/${inner}/comm`, 'latin1') === 'sleep\n') {
      cleanups.push(() => process.kill(Number(inner), 'SIGKILL'));
      return Number(inner);
    }
    await sleep(20);
  }
  throw new Error('unshare makes no namespaces');
}

const inNet = (pid, ...words) => must('nsenter', '-t', `${pid}`, '-n', ...words);
const entering = (pid, ...words) => ['nsenter', ['-t', `${pid}`, '-p', '-m', '-n', ...words]];

const flat = ([command, words]) => [command, ...words];

/** Two hosts and a router between them that the client is on; who has the server's address answers. */
async function makeNetwork() {
  const router = await place('--net');
  const hosts = {};
  for (const [name, address] of Object.entries({ a: CONTROL.a, b: CONTROL.b })) {
    const host = await place('--pid', '--mount-proc', '--mount', '--net');
    const gateway = address.replace(/1$/, '254');
    must(
      'ip',
      'link',
      'add',
      `to-${name}`,
      'netns',
      `${router}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      `${host}`,
    );
    inNet(
      host,
      'sh',
      '-ec',
      `ip link set lo up; ip link set eth0 up; ip addr add ${address}/24 dev eth0
      ip addr add ${SERVER.address}/32 dev lo; ip route add default via ${gateway}`,
    );
    inNet(router, 'sh', '-ec', `ip addr add ${gateway}/24 dev to-${name}; ip link set to-${name} up`);
    hosts[name] = host;
  }
  // The way to the server follows the connection: the host that its packets come from is the one that has it.
  inNet(
    router,
    'sh',
    '-ec',
    `ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward
    ip route add ${SERVER.address} via ${CONTROL.a}
    ip rule add fwmark 2 table 2; ip route add ${SERVER.address} via ${CONTROL.b} table 2`,
  );
  inNet(
    router,
    'nft',
    `add table ip follow
    add chain ip follow in { type filter hook prerouting priority 0; }
    add chain ip follow out { type route hook output priority 0; }
    add rule ip follow in iifname to-b ip saddr ${SERVER.address} ct mark set 2
    add rule ip follow out ip daddr ${SERVER.address} ct mark 2 meta mark set 2`,
  );
  return { router, ...hosts };
}

/** A certificate for each side. */
function certificates(dir) {
  const make = (...args) => must('openssl', ...args);
  const key = ['req', '-newkey', 'rsa:2048', '-nodes'];
  make(...key, '-x509', '-keyout', `${dir}/ca.key`, '-out', `${dir}/ca.pem`, '-days', '2', '-subj', '/CN=Demo');
  const options = (name, host) => {
    const file = join(dir, name);
    make(...key, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', `/CN=${host}`);
    const by = ['-CA', `${dir}/ca.pem`, '-CAkey', `${dir}/ca.key`, '-CAcreateserial', '-days', '2'];
    make('x509', '-req', '-in', `${file}.csr`, '-out', `${file}.pem`, ...by);
    return ['--tls', '--tls-cacert', `${dir}/ca.pem`, '--tls-cert', `${file}.pem`, '--tls-key', `${file}.key`];
  };
  return { a: options('a', CONTROL.a), b: options('b', CONTROL.b) };
}

/** The client: asks all the time, and notes how long it waits. */
const CLIENT = `
import socket, sys, time
s = socket.create_connection(('${SERVER.address}', ${SERVER.port}))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
f = s.makefile('rw', buffering=1, newline='\\n')
n = longest = 0
import select
while True:
    if select.select([sys.stdin], [], [], 0)[0]: break
    n += 1
    before = time.monotonic()
    f.write('line %d\\n' % n)
    answer = f.readline()
    longest = max(longest, time.monotonic() - before)
    if answer != 'line %d %d\\n' % (n, n): sys.exit('line %d was answered by %r' % (n, answer))
    time.sleep(0.001)
f.write('verify\\n')
print(f.readline().strip(), n, '%.1f' % (longest * 1000))
f.write('quit\\n')
`;

async function main() {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-demo-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  const program = join(dir, 'mover');
  must('gcc', '-O2', '-o', program, join(home, 'test/programs/mover.c'), '-lpthread');
  const { router, a, b } = await makeNetwork();
  const trust = TLS ? certificates(dir) : { a: ['--insecure'], b: ['--insecure'] };

  // On the other host its number has to be free.
  must(...flat(entering(a, 'sh', '-c', 'echo 4710 > /proc/sys/kernel/ns_last_pid')));
  const line = entering(a, 'setsid', program, SERVER.address, `${SERVER.port}`, `${MIB}`, `${PERCENT}`);
  spawn(...line, { stdio: 'ignore' });
  // It listens when it has written all of its memory.
  for (let turn = 0; !inNet(a, 'ss', '-Hltn').includes(`:${SERVER.port}`); turn++) {
    if (turn > 300) throw new Error('the server does not listen');
    await sleep(50);
  }
  const pid = must(...flat(entering(a, 'pgrep', '-x', 'mover'))).trim();
  const listen = spawn(
    ...entering(b, STASIS, 'service', '--listen', `${CONTROL.b}:${CONTROL.port}`, '--status-fd', '3', ...trust.b),
    { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] },
  );
  cleanups.push(() => listen.kill('SIGTERM'));
  await new Promise((resolve) => listen.stdio[3].once('data', resolve));
  const client = spawn('nsenter', ['-t', `${router}`, '-n', '/usr/bin/python3', '-c', CLIENT], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cleanups.push(() => client.kill('SIGKILL'));
  const result = new Promise((resolve) => client.stdout.once('data', (text) => resolve(`${text}`.trim().split(' '))));
  console.log(`A server with ${MIB} MiB of memory, of which ${PERCENT} % changes each second, and a client at work.`);
  await sleep(1000);

  console.log(`$ stasis migrate -t ${pid} --to ${CONTROL.b}:${CONTROL.port} --tcp-established`);
  const words = ['migrate', '-t', pid, '--to', `${CONTROL.b}:${CONTROL.port}`, '--tcp-established', ...trust.a];
  const { status } = spawnSync(...entering(a, STASIS, ...words), { stdio: 'inherit' });
  if (status !== 0) throw new Error(`the migration has failed (${status})`);

  await sleep(1000);
  client.stdin.end('stop\n');
  const [word, where, ..._] = await result;
  const [lines, longest] = (await result).slice(-2);
  if (word !== 'good') throw new Error(`memory is not what it was: page ${where}`);
  console.log(
    `All ${where} pages are as they were written. The client had ${lines} answers in order on one connection;`,
  );
  console.log(`the longest it waited for one was ${longest} ms.`);
}

runScript(main);
