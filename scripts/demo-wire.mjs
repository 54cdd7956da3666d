/**
 * `npm run demo:wire -- [FILE]`: one migration as the network sees it. A client asks a question five times a second;
 * the server is dumped, moves to another host with its address, and is restored. tshark(1) captures every packet, and
 * the table says between which steps each was sent. docs/migration.md tells one such capture packet by packet. With
 * FILE the capture stays there, for Wireshark.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPackages, onPath } from './debian.mjs';
import { bringingAddress, giveAddress, inHost, makeHosts, must, takeAddress } from './hosts.mjs';
import { cleanups, runScript } from './main.mjs';
import { home, run } from './setup.mjs';

const BRIDGE = 'stasis-wire';
const NETWORK = '198.18.79';
const ADDRESS = `${NETWORK}.1`;
const PORT = 7000;
const OPTIONS = ['--tcp-established'];

/** Answers each line with how many lines there have been. */
const SERVER = `
import socket
listening = socket.create_server(('${ADDRESS}', ${PORT}))
connection, _ = listening.accept()
for count, line in enumerate(connection.makefile('rb'), 1): connection.sendall(b'%s is number %d\\n' % (line.strip(), count))
`;
/** Asks five times a second, whether it is answered or not; at the end of its input all questions must be answered. */
const CLIENT = `
import socket, sys, threading, time
connection = socket.create_connection(('${ADDRESS}', ${PORT}))
asked, over = 0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
def listen():
    for n, line in enumerate(connection.makefile('rb'), 1):
        if line != b'question %d is number %d\\n' % (n, n): print('WRONG', n, line, flush=True)
    print('answered', n, flush=True)
listener = threading.Thread(target=listen); listener.start()
while not over.is_set():
    asked += 1; connection.sendall(b'question %d\\n' % asked); time.sleep(0.2)
connection.shutdown(socket.SHUT_WR); listener.join(); print('asked', asked, flush=True)
`;
const FIELDS = [
  ...['frame.time_epoch', 'ip.src', 'tcp.flags.str', 'tcp.seq', 'tcp.ack', 'tcp.len', 'tcp.options.timestamp.tsval'],
  ...[
    'tcp.options.timestamp.tsecr',
    'tcp.window_size_value',
    'tcp.analysis.retransmission',
    'arp.opcode',
    'arp.src.proto_ipv4',
  ],
];

const steps = [];
/** Notes that a step has come, for the table. */
const step = (what) => steps.push({ at: Date.now() / 1000, what });

function start(host, code, stdio) {
  const child = spawn(...inHost(host, '/usr/bin/python3', '-c', code), { stdio, detached: true });
  cleanups.push(() => killed(child.pid));
  return child;
}

function killed(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function stasis(host, ...args) {
  const [command, line] = inHost(host, join(home, 'dist/stasis'), ...args, ...OPTIONS);
  must(command, ...line);
}

/** Captures all packets on the bridge into a file. */
async function capture(file) {
  const tshark = spawn('tshark', ['-q', '-i', BRIDGE, '-w', file, `arp or tcp port ${PORT}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  cleanups.push(() => tshark.kill('SIGKILL'));
  for await (const text of tshark.stderr) if (`${text}`.includes('Capturing')) break;
  await sleep(1000);
  return tshark;
}

/** Prints the packets, and between them the steps. */
function tell(file) {
  const asked = ['-r', file, '-T', 'fields', ...FIELDS.flatMap((field) => ['-e', field])];
  const lines = must('tshark', ...asked)
    .trimEnd()
    .split('\n');
  const waiting = [...steps];
  const [{ at: begin }] = steps;
  const time = (at) => `${((at - begin) * 1000).toFixed(1).padStart(9)} ms`;
  const mention = (until) => {
    while (waiting[0]?.at <= until) {
      const { at, what } = waiting.shift();
      console.log(`${time(at)}  ------ ${what}`);
    }
  };
  for (const [i, line] of lines.entries()) {
    const [at, from, flags, seq, ack, length, sent, echoed, window, again, arp, arpFrom] = line.split('\t');
    mention(Number(at));
    const number = String(i + 1).padStart(4);
    if (arp) console.log(`${time(at)} ${number}  ${arpFrom}: ARP ${arp === '1' ? 'who has it?' : 'it is at …'}`);
    else {
      const who = from === ADDRESS ? 'server' : 'client';
      const set = flags.replaceAll(/[^A-Z]/g, '');
      const stamps = `time ${sent}, echo ${echoed}`;
      const note = again ? ', again' : '';
      console.log(
        `${time(at)} ${number}  ${who} ${set.padEnd(3)} seq ${seq} ack ${ack} len ${length} win ${window} ${stamps}${note}`,
      );
    }
  }
  mention(Number.POSITIVE_INFINITY);
}

async function main() {
  const missing = { tshark: 'tshark', ip: 'iproute2', nft: 'nftables' };
  const packages = Object.entries(missing).flatMap(([program, name]) => (onPath(program) ? [] : [name]));
  if (!installPackages(packages)) throw new Error(`could not install ${packages.join(', ')}`);
  if (!existsSync(join(home, 'dist/stasis')) && !run('npm', ['run', 'build'])) throw new Error('npm run build failed');
  const dir = mkdtempSync(join(tmpdir(), 'stasis-wire-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  const [one, two] = makeHosts(BRIDGE, NETWORK, cleanups);
  giveAddress(one, ADDRESS);
  const file = join(dir, 'migration.pcapng');
  const tshark = await capture(file);
  const log = openSync(join(dir, 'log'), 'a');
  const server = start(one, SERVER, ['ignore', log, log]);
  await sleep(500);
  step('the client connects');
  const client = start(undefined, CLIENT, ['pipe', 'pipe', 'inherit']);
  let said = '';
  client.stdout.on('data', (text) => {
    said += text;
  });
  await sleep(700);
  step('stasis dump begins');
  stasis(one, 'dump', '-t', `${server.pid}`, '-D', dir);
  step('stasis dump has ended; the server is gone');
  await sleep(300);
  const [nft, list] = inHost(one, 'nft', 'list', 'ruleset');
  const rules = must(nft, ...list);
  takeAddress(one);
  step('the first host has given up the address');
  await sleep(300);
  step('stasis restore begins');
  stasis(two, 'restore', '-d', '-D', dir, ...bringingAddress(dir, two, ADDRESS));
  step('stasis restore has ended; the server runs');
  await sleep(1000);
  client.stdin.end();
  await Promise.race([once(client, 'exit'), sleep(20_000)]);
  await sleep(300);
  tshark.kill('SIGINT');
  await once(tshark, 'exit');
  tell(file);
  console.log(`\nThe rules on the first host while the server was gone:\n${rules}`);
  console.log(`The client says: ${said.trim().replaceAll('\n', ', ')}`);
  if (process.argv[2]) copyFileSync(file, process.argv[2]);
  const [, answered, asked] = /^answered (\d+)\nasked (\d+)\n$/.exec(said) ?? [];
  if (!answered || answered !== asked) throw new Error('not every question was answered');
}

runScript(main);
