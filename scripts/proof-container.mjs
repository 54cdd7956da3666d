/**
 * `npm run proof:container -- [CYCLES] [--root FOLDER]`: a container by hand moves between two hosts and two root
 * directories while clients work with it. A Debian made by debootstrap runs apache2, PostgreSQL and cron under a small
 * init, in namespaces of its own, with a veth pair to its host. Each cycle dumps it under load and restores it with the
 * other root directory on the other host; every answer to the clients must be right. With --root a Debian made before
 * is used (and left), or made there.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Container, writeInit } from './container/container.mjs';
import { makeRoot } from './container/debian-root.mjs';
import { installPackages, isInstalled } from './debian.mjs';
import { makeHosts, must } from './hosts.mjs';
import { cleanups, runScript } from './main.mjs';
import { client } from './servers/dialogue.mjs';
import { gone, treeOf } from './servers/place.mjs';
import { home, run } from './setup.mjs';

const BRIDGE = 'stasis-box';
const NETWORK = '198.18.81';
const ADDRESS = `${NETWORK}.10`;
const MAC = '02:57:a5:15:00:02';
const PACKAGES = ['apache2', 'postgresql-15', 'cron', 'iproute2', 'procps'];
const FILES = 8;
/** How long a client waits, in milliseconds. Node.js gives up an idle connection 10 s after its first probe. */
const PATIENCE = 120_000;

/** A bridge in each host, by which a container reaches the network of the hosts. */
function makeInnerBridges(hosts) {
  for (const host of hosts) {
    must('ip', '-n', host, 'link', 'add', 'inner', 'type', 'bridge');
    must('ip', '-n', host, 'link', 'set', 'inner', 'up');
    must('ip', '-n', host, 'link', 'set', 'eth0', 'master', 'inner', 'up');
  }
}

/** The services of the container, and what they serve. */
function furnish(root) {
  const sums = [];
  for (let i = 0; i < FILES; i++) {
    const bytes = randomBytes(200_000);
    sums.push(createHash('sha256').update(bytes).digest('hex'));
    writeFileSync(join(root, `var/www/html/file-${i}`), bytes);
  }
  const configuration = join(root, 'etc/postgresql/15/main');
  writeFileSync(join(configuration, 'pg_hba.conf'), 'local all all trust\nhost all all all trust\n');
  writeFileSync(join(configuration, 'conf.d/here.conf'), "listen_addresses = '*'\nshared_buffers = 32MB\n");
  // Connections are kept, so that none is closed while a client asks for the next file.
  const kept = 'ServerName inside\nMaxKeepAliveRequests 0\nKeepAliveTimeout 120\nTimeout 300\n';
  writeFileSync(join(root, 'etc/apache2/conf-enabled/kept.conf'), kept);
  writeFileSync(join(root, 'etc/cron.d/count'), '* * * * * root date +\\%s >>/minutes\n');
  rmSync(join(root, 'minutes'), { force: true });
  writeInit(root, [
    'mkdir -p /run/lock /var/run/apache2 /var/run/postgresql; chown postgres: /var/run/postgresql',
    'apachectl start >/dev/null 2>&1',
    'pg_ctlcluster 15 main start >/dev/null 2>&1',
    'cron',
  ]);
  return sums;
}

/** Clients of the web server: each asks for one file after the other over one connection. */
class Downloads {
  answers = 0;
  #stopped = false;
  #working;

  constructor(count, sums) {
    this.#working = Array.from({ length: count }, (_, i) =>
      this.#work(new Agent({ keepAlive: true, keepAliveMsecs: PATIENCE, maxSockets: 1 }), i, sums),
    );
    // Whoever fails is looked at when all are stopped.
    for (const work of this.#working) work.catch(() => undefined);
  }

  async #work(agent, first, sums) {
    for (let turn = first; !this.#stopped; turn++) {
      const sum = await fetchSum(agent, `/file-${turn % FILES}`);
      if (sum !== sums[turn % FILES]) throw new Error(`a download of file-${turn % FILES} is wrong`);
      this.answers++;
    }
    agent.destroy();
  }

  async stop() {
    this.#stopped = true;
    await Promise.all(this.#working);
  }

  /** @throws Error if one has failed */
  check() {
    return Promise.race([...this.#working, Promise.resolve()]);
  }
}

function fetchSum(agent, path) {
  return new Promise((resolve, reject) => {
    const request = get({ agent, host: ADDRESS, port: 80, path, timeout: PATIENCE }, (response) => {
      const hash = createHash('sha256');
      response.on('data', (piece) => hash.update(piece));
      response.on('end', () => resolve(hash.digest('hex')));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer within two minutes')));
  });
}

/** A client of the database with a transaction open across each dump. */
function database(name) {
  const session = client(name, 'psql', ['-X', '-q', '-A', '-t', '-U', 'postgres', '-h', ADDRESS]);
  cleanups.push(() => session.child.kill('SIGKILL'));
  return session;
}

async function until(seconds, what, found) {
  for (let turn = 0; turn < seconds * 10; turn++) {
    if (await found()) return;
    await sleep(100);
  }
  throw new Error(`waited ${seconds} s in vain: ${what}`);
}

async function main() {
  const words = process.argv.slice(2);
  const at = words.indexOf('--root');
  const given = at < 0 ? undefined : words.splice(at, 2)[1];
  const cycles = Number(words[0] ?? 20);
  if (!(cycles >= 1)) throw new Error('the number of cycles is wanted');
  const missing = ['postgresql-client-15', 'iproute2'].filter((name) => !isInstalled(name));
  if (!installPackages(missing)) throw new Error(`could not install ${missing.join(', ')}`);
  if (!existsSync(join(home, 'dist/stasis')) && !run('npm', ['run', 'build'])) throw new Error('npm run build failed');
  const dir = mkdtempSync(join(tmpdir(), 'stasis-container-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  must('chmod', '755', dir);
  const first = given ?? join(dir, 'root');
  if (!existsSync(join(first, 'etc/debian_version'))) {
    console.log('A Debian is made.');
    makeRoot(first, PACKAGES);
  }
  const roots = [first, `${first}-moved`];
  if (given !== undefined) cleanups.push(() => existsSync(roots[1]) && renameSync(roots[1], roots[0]));
  const sums = furnish(first);
  const hosts = makeHosts(BRIDGE, NETWORK, cleanups);
  makeInnerBridges(hosts);
  const box = new Container({ root: first, host: hosts[0], address: ADDRESS, mac: MAC, images: dir });
  cleanups.push(() => box.kill());
  await box.start();
  const agent = new Agent();
  await until(60, 'the web server does not answer', () => fetchSum(agent, '/file-0').catch(() => false));
  const isReady = () => spawnSync('pg_isready', ['-q', '-h', ADDRESS]).status === 0;
  await until(60, 'the database does not answer', isReady);
  const writer = database('a transaction');
  await writer.ask('create table if not exists t (n int); truncate t; select 1;\n', /1\n/);
  const [, backend] = await writer.ask('select pg_backend_pid();\n', /(\d+)\n/);
  const downloads = new Downloads(4, sums);
  for (let cycle = 1; cycle <= cycles; cycle++) {
    const images = join(dir, `images-${cycle}`);
    mkdirSync(images);
    await writer.ask(`begin; insert into t values (${cycle}); select 'in';\n`, /in\n/);
    await sleep(200 + 300 * Math.random());
    const tree = treeOf(box.pid);
    box.dump(images);
    await gone(tree);
    await sleep(300);
    const [from, to] = cycle % 2 === 1 ? roots : roots.toReversed();
    renameSync(from, to);
    const before = downloads.answers;
    box.restore(images, to, hosts[cycle % 2]);
    await writer.ask(`select pg_backend_pid();\n`, new RegExp(`^${backend}\n`));
    await writer.ask(`commit; select sum(n) from t;\n`, new RegExp(`^${(cycle * (cycle + 1)) / 2}\n`));
    await until(60, 'the downloads do not go on', async () => {
      await downloads.check();
      return downloads.answers > before + 20;
    });
    const anew = database('a new connection');
    await anew.ask('select count(*) from t;\n', new RegExp(`^${cycle}\n`));
    anew.child.stdin.end();
    await anew.ended();
    rmSync(images, { recursive: true });
    if (process.stdout.isTTY) process.stdout.write(`\rcycle ${cycle} of ${cycles}, ${downloads.answers} downloads `);
  }
  const root = roots[cycles % 2];
  const minutes = () =>
    existsSync(join(root, 'minutes')) ? readFileSync(join(root, 'minutes'), 'utf8').split('\n').length : 0;
  const counted = minutes();
  await until(90, 'cron does nothing', () => minutes() > counted);
  await downloads.stop();
  const median = (times) => `${Math.round(times.sort((a, b) => a - b)[times.length >> 1])} ms`;
  console.log(
    `${cycles} cycles of ${treeOf(box.pid).length} processes, ${downloads.answers} downloads all right; ` +
      `dump ${median(box.times.dump)}, restore ${median(box.times.restore)}; cron goes on`,
  );
}

runScript(main);
