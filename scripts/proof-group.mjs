/**
 * `npm run proof:group`: a web server, an application and a database in three containers of runc, on one bridge, as
 * Docker Compose starts them. Clients ask all the time, on connections that stay: each request goes through all three
 * and back, over connections between the containers that stay, too. The containers are checkpointed and restored in
 * every order, and no answer may be missing, come twice, or be another one. Needs root, and installs the packages that
 * are missing. `-- --criu PATH` has another program called criu.
 */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPackages, isInstalled } from './debian.mjs';
import { Container, makePlace, must } from './engines/container.mjs';
import { home } from './setup.mjs';

const PACKAGES = ['runc', 'busybox-static', 'iproute2'];
const CLIENTS = 4;
/** Milliseconds between the requests of one client. */
const PACE = 5;
/** Milliseconds in which an answer must have come: TCP waits longer each time before it sends again. */
const PATIENCE = 30_000;

const NET = '198.18.79';
const BRIDGE = `stg${process.pid % 10_000_000}`;

/** The containers, from the front to the back, with what each does for one connection. */
const MEMBERS = [
  { name: 'web', address: `${NET}.2`, serve: `exec nc ${NET}.3 80 | while read line; do echo "web $line"; done` },
  { name: 'app', address: `${NET}.3`, serve: `exec nc ${NET}.4 80 | while read line; do echo "app $line"; done` },
  { name: 'db', address: `${NET}.4`, serve: 'n=0; while read line; do n=$((n+1)); echo "db $n $line"; done' },
];

const namespaceOf = ({ name }) => `stasis-group-${process.pid}-${name}`;

function makeNetwork() {
  must('sh', [
    '-ec',
    `ip link add ${BRIDGE} type bridge; ip addr add ${NET}.1/24 dev ${BRIDGE}; ip link set ${BRIDGE} up`,
  ]);
  for (const [i, member] of MEMBERS.entries()) {
    const name = namespaceOf(member);
    const lines = [
      `ip netns add ${name}`,
      `ip link add ${BRIDGE}-${i} type veth peer name eth0 netns ${name}`,
      `ip link set ${BRIDGE}-${i} master ${BRIDGE} up`,
      `ip -n ${name} addr add ${member.address}/24 dev eth0`,
      `ip -n ${name} link set eth0 up`,
    ];
    must('sh', ['-ec', lines.join('\n')]);
  }
}

function removeNetwork() {
  const lines = MEMBERS.map((member) => `ip netns del ${namespaceOf(member)} || :`);
  must('sh', ['-c', [...lines, `ip link del ${BRIDGE} || :`].join('\n')], { stdio: 'ignore' });
}

function makeContainer(place, member) {
  const container = new Container(place, member.name);
  const script = join(container.bundle, 'rootfs/bin/serve');
  writeFileSync(script, `#!/bin/sh\n${member.serve}\n`);
  chmodSync(script, 0o755);
  container.edit((config) => {
    config.linux.namespaces.find(({ type }) => type === 'network').path = `/run/netns/${namespaceOf(member)}`;
    container.program(config, 'nc -ll -p 80 -e /bin/serve &');
  });
  return container;
}

/** Asks all the time on one connection; each answer must be the one to the oldest request that has none yet. */
class Client {
  fault;
  #asked = 0;
  #answered = 0;
  #text = '';
  #isOver = false;

  constructor() {
    this.socket = connect(80, MEMBERS[0].address);
    this.socket.on('data', (data) => this.#take(`${data}`));
    this.socket.on('error', (error) => {
      this.fault ??= error.message;
    });
    this.socket.on('close', () => {
      if (!this.#isOver) this.fault ??= 'the connection is closed';
    });
    this.timer = setInterval(() => this.socket.write(`${++this.#asked}\n`), PACE);
  }

  #take(text) {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      const expected = `web app db ${++this.#answered} ${this.#answered}`;
      if (line !== expected) this.fault ??= `"${line}" in place of "${expected}"`;
    }
  }

  /** Waits until all that was asked until now is answered. Returns how many answers there were. */
  async settle() {
    const asked = Math.max(this.#asked, 1);
    for (const end = performance.now() + PATIENCE; this.#answered < asked && this.fault === undefined; ) {
      if (performance.now() > end) throw new Error(`no answer to ${this.#answered + 1} of ${asked}`);
      await sleep(10);
    }
    if (this.fault !== undefined) throw new Error(this.fault);
    return this.#answered;
  }

  end() {
    this.#isOver = true;
    clearInterval(this.timer);
    this.socket.destroy();
  }
}

const orders = (all) =>
  all.length < 2
    ? [all]
    : all.flatMap((one) => orders(all.filter((other) => other !== one)).map((rest) => [one, ...rest]));

/** All gone, all back, in each pair of orders; then one after the other. */
async function prove(containers, clients) {
  const settled = () => Promise.all(clients.map((client) => client.settle()));
  await settled();
  for (const going of orders(containers)) {
    for (const coming of [going, going.toReversed()]) {
      for (const container of going) await step(() => container.checkpoint('--tcp-established'));
      for (const container of coming) await step(() => container.restore('--tcp-established'));
      const answers = await settled();
      for (const container of containers) container.goesOn();
      const told = (list) => list.map(({ bundle }) => bundle.split('/').at(-1)).join(', ');
      console.log(`ok    gone: ${told(going)}; back: ${told(coming)}: ${answers.reduce((a, b) => a + b)} answers`);
    }
  }
}

/** A step that blocks this process, and time for the clients to ask before the next one. */
async function step(work) {
  work();
  await sleep(20 + 80 * Math.random());
}

async function main(args) {
  const at = args.indexOf('--criu');
  const criu = at < 0 ? join(home, 'dist/stasis') : resolve(args[at + 1] ?? '');
  if (!installPackages(PACKAGES.filter((name) => !isInstalled(name)))) throw new Error('packages are missing');
  const place = makePlace(criu);
  const containers = [];
  const clients = [];
  try {
    makeNetwork();
    for (const member of MEMBERS) containers.push(makeContainer(place, member));
    for (const container of containers.toReversed()) {
      container.run();
      container.waitFor(() => container.exec('netstat', '-ltn').includes(':80 '), 'nobody listens in it');
    }
    for (let i = 0; i < CLIENTS; i++) {
      clients.push(new Client());
    }
    await prove(containers, clients);
  } finally {
    for (const client of clients) client.end();
    for (const container of containers) container.end();
    removeNetwork();
    rmSync(place, { recursive: true, force: true });
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(`Error: ${error.message}`);
  process.exitCode = 1;
}
