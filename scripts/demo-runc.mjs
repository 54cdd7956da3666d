/**
 * `npm run demo:runc`: Apache's httpd in a container of runc, Debian's and unmodified, which finds `dist/stasis` under
 * the name criu in PATH. A client stays connected while the container is checkpointed, gone and restored; what it asks
 * meanwhile is answered afterwards, by the same server. Needs root, and installs the packages that are missing.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPackages, isInstalled } from './debian.mjs';
import { Container } from './engines/container.mjs';
import { must } from './hosts.mjs';
import { cleanups, runScript } from './main.mjs';
import { home, run } from './setup.mjs';

const PACKAGES = ['runc', 'apache2-bin', 'iproute2'];
const NETWORK = `stasis-runc-${process.pid}`;
const DEVICE = `str${process.pid % 10_000_000}`;
const ADDRESS = '198.18.79.2';

const CONFIG = [
  'ServerRoot /usr/lib/apache2',
  ...['mpm_event', 'authz_core', 'status'].map((name) => `LoadModule ${name}_module modules/mod_${name}.so`),
  'ServerName httpd',
  'Listen 80',
  'User www-data',
  'Group www-data',
  'PidFile /tmp/httpd.pid',
  'ErrorLog /dev/stderr',
  'KeepAliveTimeout 60',
  'MaxKeepAliveRequests 0',
  '<Location /status>',
  '  SetHandler server-status',
  '</Location>',
  '',
];

/** A root with nothing of its own but the configuration: the programs are those of this machine, mounted read-only. */
function makeRoot(path) {
  for (const name of ['usr', 'proc', 'sys', 'dev', 'tmp', 'etc', 'data'])
    mkdirSync(join(path, name), { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(path, name));
  writeFileSync(join(path, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/false\n');
  writeFileSync(join(path, 'etc/group'), 'root:x:0:\nwww-data:x:33:\n');
  writeFileSync(join(path, 'etc/httpd.conf'), CONFIG.join('\n'));
}

/** As Podman does it: the network is there before the container, and stays. */
function makeNetwork() {
  cleanups.push(() => must('ip', 'netns', 'del', NETWORK));
  must('ip', 'netns', 'add', NETWORK);
  must('ip', 'link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', NETWORK);
  must('ip', 'addr', 'add', '198.18.79.1/30', 'dev', DEVICE);
  must('ip', 'link', 'set', DEVICE, 'up');
  must('ip', '-n', NETWORK, 'addr', 'add', `${ADDRESS}/30`, 'dev', 'eth0');
  must('ip', '-n', NETWORK, 'link', 'set', 'eth0', 'up');
}

/** httpd as images of containers have it: root opens the port, www-data serves. */
function configure(container) {
  const capabilities = ['CAP_NET_BIND_SERVICE', 'CAP_SETUID', 'CAP_SETGID', 'CAP_KILL'];
  container.edit((config) => {
    config.process.args = ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-f', '/etc/httpd.conf'];
    for (const set of ['bounding', 'effective', 'permitted']) config.process.capabilities[set] = capabilities;
    config.linux.namespaces.find(({ type }) => type === 'network').path = `/run/netns/${NETWORK}`;
    config.mounts.push({ destination: '/usr', type: 'bind', source: '/usr', options: ['rbind', 'ro'] });
  });
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

/** Asks the server for its figures. `port` is this side's of the connection: it stays if the connection does. */
function ask() {
  return new Promise((resolve, reject) => {
    const request = get({ agent, host: ADDRESS, path: '/status?auto', timeout: 30_000 }, (answer) => {
      const port = answer.socket.localPort;
      let text = '';
      answer.on('data', (data) => {
        text += data;
      });
      answer.on('end', () =>
        resolve({ port, requests: figure(text, 'Total Accesses'), uptime: figure(text, 'Uptime') }),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no answer in 30 s'))).on('error', reject);
  });
}

function figure(text, name) {
  const found = new RegExp(`^${name}: (\\d+)$`, 'm').exec(text);
  if (!found) throw new Error(`the server does not tell its ${name}: ${text.slice(0, 200)}`);
  return Number(found[1]);
}

async function firstAnswer() {
  for (let turn = 0; ; turn++) {
    try {
      return await ask();
    } catch (error) {
      if (turn === 100) throw error;
      await sleep(50);
    }
  }
}

const tell = ({ port, requests, uptime }) =>
  `request ${requests} since the server was started ${uptime} s ago, from port ${port}`;

async function main() {
  if (!installPackages(PACKAGES.filter((name) => !isInstalled(name)))) throw new Error('packages are missing');
  const stasis = join(home, 'dist/stasis');
  if (!existsSync(stasis) && !run(process.execPath, [join(home, 'scripts', 'build.mjs')])) throw new Error('no build');
  const place = mkdtempSync(join(tmpdir(), 'stasis-runc-'));
  cleanups.push(() => rmSync(place, { recursive: true, force: true }));
  chmodSync(place, 0o755);
  mkdirSync(join(place, 'bin'));
  symlinkSync(stasis, join(place, 'bin/criu'));
  makeRoot(join(place, 'rootfs'));
  makeNetwork();
  const container = new Container(place, 'httpd');
  cleanups.push(() => container.end());
  configure(container);
  await act(container);
}

async function act(container) {
  container.runc(['run', '-d', '--bundle', container.bundle, container.name], 'ignore');
  await firstAnswer();
  const processes = container.runc(['ps', '--format', 'json', container.name]);
  console.log(`httpd runs in a container of runc: processes ${JSON.parse(processes).join(', ')}`);
  const before = await ask();
  console.log(`a client asks:         ${tell(before)}`);

  container.checkpoint('--tcp-established');
  const { checkpoint } = container.took;
  if (container.runc(['list', '-q']).trim() !== '') throw new Error('the container is still there');
  console.log(`runc checkpoint:       ${checkpoint.toFixed(0)} ms, and the container is gone`);
  const waiting = ask();
  waiting.catch(() => {}); // awaited below
  await sleep(2000);

  container.restore('--tcp-established');
  console.log(`runc restore:          ${container.took.restore.toFixed(0)} ms`);
  const meanwhile = await waiting;
  console.log(`asked while it was gone: ${tell(meanwhile)}`);
  const after = await ask();
  console.log(`and once more:         ${tell(after)}`);
  const { status } = JSON.parse(container.runc(['state', container.name]));
  if (status !== 'running') throw new Error(`runc says that it is ${status}`);
  if (meanwhile.port !== before.port || after.port !== before.port) throw new Error('the connection was lost');
  if (after.requests !== before.requests + 2) throw new Error('it is another server');
  console.log('The connection is the same, and so is the server.');
}

runScript(main);
