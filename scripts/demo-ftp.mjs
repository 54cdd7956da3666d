/**
 * `npm run demo:ftp`: a file server moves in the middle of a download. vsftpd serves 1 GiB to curl; it is dumped and is
 * gone for two seconds; restored, the download goes on, and the checksum is right. First on one machine, then from one
 * host to another: two network namespaces on a bridge, the server's address moving along. `-- --lftp`: to lftp.
 * `-- --isolated`: vsftpd puts each session into namespaces of its own.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPackages, onPath } from './debian.mjs';
import { bringingAddress, giveAddress, inHost, makeHosts, must, takeAddress } from './hosts.mjs';
import { cleanups, runScript } from './main.mjs';
import { home, run } from './setup.mjs';

const SIZE = 1 << 30;
const PORT = 5311;
const OPTIONS = ['--shell-job', '--ext-unix-sk', '--tcp-established', '--file-locks'];
const ISOLATED = process.argv.includes('--isolated') ? 'YES' : 'NO';
const CLIENT = process.argv.includes('--lftp') ? 'lftp' : 'curl';
const BRIDGE = 'stasis-ftp';
const NETWORK = '198.18.77';
const ADDRESS = `${NETWORK}.1`;

async function checksum(path) {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece);
  return hash.digest('hex');
}

function childrenOf(pid) {
  const own = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
  return [pid, ...own.flatMap(childrenOf)];
}

async function gone(pids) {
  for (let turn = 0; turn < 200; turn++) {
    if (!pids.some((pid) => existsSync(`/proc/${pid}`))) return;
    await sleep(50);
  }
  throw new Error(`processes ${pids.join(', ')} are still there`);
}

/** The namespaces of a type that processes are in. */
function namespacesOf(pids, name) {
  return new Set(pids.map((pid) => readlinkSync(`/proc/${pid}/ns/${name}`)));
}

const sizeOf = (path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

function bar(done, state) {
  const width = 40;
  const full = Math.round((done / SIZE) * width);
  const line = `  [${'#'.repeat(full)}${'.'.repeat(width - full)}] ${Math.floor((done / SIZE) * 100)} %  ${state}`;
  if (process.stdout.isTTY) process.stdout.write(`\r${line.padEnd(79)}`);
}

/** Shows the download until it has come so far. */
async function watch(file, until, state, isOver = () => false) {
  for (let turn = 0; sizeOf(file) < until && !isOver(); turn++) {
    if (turn > 6000) throw new Error('the download stands still');
    bar(sizeOf(file), state);
    await sleep(20);
  }
}

function startServer(dir, address, host) {
  const config = join(dir, 'vsftpd.conf');
  writeFileSync(
    config,
    [
      ...['listen=YES', `listen_address=${address}`, `listen_port=${PORT}`, 'background=NO', 'anonymous_enable=YES'],
      ...[`anon_root=${join(dir, 'files')}`, 'local_enable=NO', 'connect_from_port_20=NO', 'seccomp_sandbox=NO'],
      ...[`secure_chroot_dir=${join(dir, 'empty')}`, `isolate=${ISOLATED}`],
      ...[`isolate_network=${ISOLATED}`, ''],
    ].join('\n'),
  );
  return spawn(...inHost(host, 'vsftpd', config), { stdio: 'ignore', detached: true });
}

function stasis(host, ...args) {
  const began = performance.now();
  const { status, stderr } = spawnSync(...inHost(host, join(home, 'dist/stasis'), ...args), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`stasis ${args[0]} failed: ${stderr}`);
  return Math.round(performance.now() - began);
}

/** One download, in the middle of which the server goes from host to host. */
async function act({ dir, address, from, to, leave, options = [] }) {
  const images = mkdtempSync(join(dir, 'images-'));
  const got = join(images, 'got');
  const server = startServer(dir, address, from);
  let pids = [server.pid];
  cleanups.push(() => {
    for (const pid of pids) if (isServer(pid)) process.kill(pid, 'SIGKILL');
  });
  await sleep(500);
  const url = `ftp://${address}:${PORT}/large`;
  const client =
    CLIENT === 'curl'
      ? spawn('curl', ['-sS', '--limit-rate', '250M', '-o', got, url], { stdio: ['ignore', 'ignore', 'inherit'] })
      : spawn('lftp', ['-c', `set net:limit-rate 250000000; get ${url} -o ${got}`], {
          stdio: ['ignore', 'ignore', 'inherit'],
        });
  let code;
  client.on('exit', (status) => {
    code = status ?? 1;
  });
  cleanups.push(() => client.kill('SIGKILL'));
  await watch(got, SIZE * 0.4, `${CLIENT} downloads from vsftpd`, () => code !== undefined);
  pids = childrenOf(server.pid);
  const apart = ['pid', 'ipc', 'net'].filter((name) => namespacesOf(pids, name).size > 1);
  // Debian's vsftpd makes no PID namespaces.
  if (ISOLATED === 'YES' && apart.length < 2) throw new Error(`sessions are isolated by: ${apart.join(', ')}`);
  const dumped = stasis(from, 'dump', '-t', String(server.pid), '-D', images, ...OPTIONS);
  const before = sizeOf(got);
  await gone(pids);
  leave?.();
  for (const end = Date.now() + 2000; Date.now() < end; await sleep(50))
    bar(sizeOf(got), `${CLIENT} waits: there is no server`);
  const restored = stasis(to, 'restore', '-d', '-D', images, ...OPTIONS, ...options);
  await watch(got, SIZE, 'the download goes on', () => code !== undefined);
  for (let turn = 0; code === undefined && turn < 400; turn++) await sleep(50);
  bar(sizeOf(got), '');
  if (process.stdout.isTTY) process.stdout.write('\n');
  console.log(
    `  dumped ${pids.length} processes in ${dumped} ms at ${Math.floor((before / SIZE) * 100)} %, restored in ${restored} ms${apart.length > 0 ? `; namespaces of their own: ${apart.join(', ')}` : ''}`,
  );
  if (code !== 0) throw new Error(`${CLIENT} ended with ${code ?? 'nothing'}`);
  return got;
}

function isServer(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim() === 'vsftpd';
  } catch {
    return false;
  }
}

async function main() {
  const missing = { vsftpd: 'vsftpd', [CLIENT]: CLIENT, ip: 'iproute2' };
  const packages = Object.entries(missing).flatMap(([program, name]) => (onPath(program) ? [] : [name]));
  if (!installPackages(packages)) throw new Error(`could not install ${packages.join(', ')}`);
  if (!existsSync(join(home, 'dist/stasis')) && !run('npm', ['run', 'build'])) throw new Error('npm run build failed');
  const dir = mkdtempSync(join(tmpdir(), 'stasis-ftp-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  must('chmod', '755', dir);
  for (const name of ['files', 'empty']) mkdirSync(join(dir, name), { mode: 0o755 });
  const large = join(dir, 'files/large');
  console.log('A file of 1 GiB is made.');
  must('sh', '-c', `head -c ${SIZE} /dev/urandom >"$0" && chmod 644 "$0"`, large);
  const wanted = await checksum(large);
  const verify = async (got) => {
    const isRight = (await checksum(got)) === wanted;
    console.log(isRight ? '  the checksum is right' : '  THE CHECKSUM IS WRONG');
    if (!isRight) process.exitCode = 1;
    rmSync(got);
  };
  console.log('1. The server goes and comes back, on one machine.');
  await verify(await act({ dir, address: '127.0.0.1' }));
  for (const work of cleanups.splice(1).reverse()) work();
  console.log('2. The server moves to another host, and its address with it.');
  const [from, to] = makeHosts(BRIDGE, NETWORK, cleanups);
  giveAddress(from, ADDRESS);
  const leave = () => takeAddress(from);
  await verify(await act({ dir, address: ADDRESS, from, to, leave, options: bringingAddress(dir, to, ADDRESS) }));
}

runScript(main);
