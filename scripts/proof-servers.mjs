/**
 * `npm run proof:servers -- [NAME…] [--cycles N]`: real servers from Debian's packages, each with clients in the middle
 * of their work, taken through cycles of dump and restore of what was restored, 20 as a rule. After each the clients go
 * on, and what they get is checked; at the end the server's log must hold no complaint, and the server end when it is
 * told to. Needs root, and installs the packages that are missing. `--keep` leaves the folder of a server that fails.
 * With `--podman` each server runs in a container of Debian's unmodified Podman, which checkpoints and restores it.
 * `scripts/servers/NAME.mjs` starts a server and brings its clients.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { installPackages, isInstalled } from './debian.mjs';
import { runScript } from './main.mjs';
import { Place } from './servers/place.mjs';
import { Podman, PodmanPlace } from './servers/podman-place.mjs';
import { withSystemLog } from './servers/system-log.mjs';
import { home, run } from './setup.mjs';

const FILES = [
  ...['dnsmasq', 'node', 'redis', 'ssh', 'sendmail', 'vsftpd', 'apache2'],
  ...['postgres', 'mariadb', 'tomcat', 'chromium'],
];

const FLAGS = ['--keep', '--podman'];

/** The names that were asked for, and how many cycles. */
function wishes(args) {
  const names = [];
  let cycles = 20;
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--cycles') cycles = Number(args[++i]);
    else if (!FLAGS.includes(args[i])) names.push(args[i]);
  }
  if (!(cycles >= 1)) throw new Error('--cycles wants a number');
  return { names, cycles, keep: args.includes('--keep'), inPodman: args.includes('--podman') };
}

async function servers(names, inPodman) {
  const all = [];
  for (const file of FILES) all.push(...(await import(`./servers/${file}.mjs`)).default);
  const known = all.map((server) => server.name);
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`there is no server ${name}; there are ${known.join(', ')}`);
  }
  if (names.length > 0) return all.filter((server) => names.includes(server.name));
  return inPodman ? all.filter((server) => server.inContainers !== false) : all;
}

/** Takes a server through its cycles. Returns a line of the table of results. */
async function prove(server, cycles, place, systemLog) {
  await server.start(place);
  const session = await server.meet(place);
  const before = { log: place.log().length, system: systemLog.mark() };
  let cycle = 0;
  try {
    for (cycle = 1; cycle <= cycles; cycle++) {
      if (process.stdout.isTTY) process.stdout.write(`\r${server.name}: cycle ${cycle} of ${cycles} `);
      await session.before(cycle);
      await place.cycle(server.options);
      await session.after(cycle);
    }
  } catch (error) {
    throw new Error(`in cycle ${cycle}: ${error.message}`);
  }
  await session.end();
  await place.stop(server.signal);
  const log = place.log().slice(before.log) + systemLog.since(before.system, server.ident);
  const complaint = log.split('\n').find((line) => server.complaints.test(line) && !server.harmless?.test(line));
  if (complaint !== undefined) throw new Error(`the server has complained: ${complaint}`);
  const each = (times) => `${Math.round(times.sort((a, b) => a - b)[times.length >> 1])} ms`;
  const size = `${place.processes} / ${place.threads}`;
  return `| ${server.name} | ${size} | ${cycles} | ${each(place.times.dump)} | ${each(place.times.restore)} |`;
}

async function main() {
  const { names, cycles, keep, inPodman } = wishes(process.argv.slice(2));
  const chosen = await servers(names, inPodman);
  const needed = [...chosen.flatMap((server) => server.packages), ...(inPodman ? Podman.packages : [])];
  const packages = needed.filter((name) => !isInstalled(name));
  if (!installPackages([...new Set(packages)])) throw new Error(`could not install ${packages.join(', ')}`);
  if (!existsSync(join(home, 'dist/stasis')) && !run('npm', ['run', 'build'])) throw new Error('npm run build failed');
  const rows = [];
  const systemLog = await withSystemLog();
  process.on('exit', () => systemLog.end());
  const podman = inPodman ? new Podman() : undefined;
  process.on('exit', () => podman?.end());
  for (const server of chosen) {
    const place = podman ? new PodmanPlace(server.name, podman, server.options) : new Place(server.name);
    const clean = () => place.clean({ keep: false });
    process.on('exit', clean);
    let failed = false;
    try {
      rows.push(await prove(server, cycles, place, systemLog));
    } catch (error) {
      failed = true;
      process.exitCode = 1;
      rows.push(`| ${server.name} | FAILED | | | |`);
      const log = `${place.log()}${systemLog.since(0, server.ident)}`.split('\n').slice(-12).join('\n');
      console.error(`\n${server.name}: ${error.message}\n${place.warnings.slice(-20).join('\n')}\n${log}`);
      if (keep) {
        place.file('system.log', systemLog.since(0, server.ident));
        console.error(`${server.name}: its folder is ${place.dir}`);
      }
    }
    process.off('exit', clean);
    place.clean({ keep: keep && failed });
    console.log(`\r${rows.at(-1)}`);
  }
  console.log('\n| Server | processes / threads | cycles | dump | restore |\n|---|---|---|---|---|');
  console.log(rows.join('\n'));
}

runScript(main);
