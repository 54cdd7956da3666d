/**
 * `npm run proof:engines -- [NAME…]`: containers of runc from Debian's package, which finds dist/stasis under the name
 * criu in PATH and knows no better. Each container counts; it is checkpointed, restored and looked at. Needs root, and
 * installs the packages that are missing. `-- --criu PATH` has another program called criu, to compare with.
 */

import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { installPackages, isInstalled } from './debian.mjs';
import { Container, makePlace, must, pause } from './engines/container.mjs';
import { home, run } from './setup.mjs';

const PACKAGES = ['runc', 'busybox-static', 'python3', 'iproute2', 'bsdutils', 'util-linux'];

/** The containers, by name: what each has besides its counter, and what must be there after the restore. */
const CONTAINERS = {
  plain: (container) => cycle(container),

  'leave running': (container) => {
    container.run();
    container.checkpoint('--leave-running');
    container.goesOn();
    cycle(container, {}, true);
  },

  'two cycles': (container) => {
    cycle(container);
    cycle(container, {}, true);
  },

  'file locks': (container) => {
    container.edit((config) => container.program(config, 'exec 9>/data/lock; flock 9'));
    cycle(container, { both: ['--file-locks'] });
    const isFree = container.exec('sh', '-c', 'flock -n /data/lock true && echo free; true').trim();
    if (isFree) throw new Error('the lock is gone');
  },

  'file systems': (container) => {
    const volume = join(container.bundle, 'volume');
    mkdirSync(volume);
    writeFileSync(join(volume, 'file'), 'volume');
    container.edit((config) => {
      config.mounts.push(
        { destination: '/run', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=755', 'size=64k'] },
        { destination: '/vol', type: 'bind', source: volume, options: ['rbind', 'rw'] },
        { destination: '/etc/hostname', type: 'bind', source: '/etc/hostname', options: ['rbind', 'ro'] },
      );
      container.program(config, 'echo kept >/run/kept; exec 3>>/vol/log');
    });
    cycle(container);
    const found = container.exec('cat', '/run/kept', '/vol/file').replace(/\s/g, '');
    if (found !== 'keptvolume') throw new Error(`found ${found}`);
    const written = container.exec('sh', '-c', 'echo x >/etc/hostname && echo written; true');
    if (written.includes('written')) throw new Error('a read-only mount is writable');
  },

  'seccomp filter': (container) => {
    container.edit((config) => {
      const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }];
      config.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86_64'], syscalls };
    });
    cycle(container);
    if (!/Seccomp:\s+2/.test(container.exec('cat', '/proc/1/status'))) throw new Error('the filter is gone');
  },

  'user namespace': (container) => {
    const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    container.edit((config) => {
      config.linux.namespaces.push({ type: 'user' });
      Object.assign(config.linux, { uidMappings: map, gidMappings: map });
    });
    must('chown', ['-R', '100000:100000', join(container.bundle, 'rootfs')]);
    cycle(container);
    const found = container.exec('cat', '/proc/1/uid_map').trim().split(/\s+/).join(' ');
    if (found !== '0 100000 65536') throw new Error(`the map is ${found}`);
    container.exec('sh', '-c', 'echo written >/data/by-root');
  },

  terminal: async (container) => {
    await container.keepTerminal();
    cycle(container);
    container.exec('sh', '-c', 'echo still there >/dev/console');
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (!container.shown().includes('still there')) throw new Error('nothing arrives at the terminal');
  },

  hooks: (container) => {
    const [script, log] = ['hook', 'hooks'].map((name) => join(container.bundle, name));
    writeFileSync(script, `#!/bin/sh\nreadlink /proc/$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')/ns/net >>${log}\n`);
    chmodSync(script, 0o755);
    container.edit((config) => {
      config.hooks = { prestart: [{ path: script }] };
    });
    cycle(container);
    const last = readFileSync(log, 'utf8').trim().split('\n');
    const own = container.exec('readlink', '/proc/1/ns/net').trim();
    if (last.length !== 2 || last[1] !== own) throw new Error(`told of ${last.join(', ')}, and it is in ${own}`);
  },

  'network of a hook': async (container) => {
    // As with Docker: the engine moves a device into the namespace when it is told of that, also at the restore.
    const [script, device] = [join(container.bundle, 'hook'), `stp${process.pid % 10_000_000}`];
    const lines = [
      '#!/bin/sh -e',
      `pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/')`,
      `ip link add ${device} type veth peer name eth0 netns $pid`,
      `ip addr add 198.18.77.1/30 dev ${device}`,
      `ip link set ${device} up`,
      'in="nsenter --net=/proc/$pid/ns/net"',
      '$in ip addr add 198.18.77.2/30 dev eth0',
      '$in ip link set eth0 up',
    ];
    writeFileSync(script, `${lines.join('\n')}\n`);
    chmodSync(script, 0o755);
    container.edit((config) => {
      config.hooks = { prestart: [{ path: script }] };
      container.program(config, 'echo hello >/data/index.html; httpd -f -p 80 -h /data &');
    });
    const ask = async () => (await (await fetch('http://198.18.77.2/index.html')).text()).trim();
    container.run();
    if ((await ask()) !== 'hello') throw new Error('the server does not answer');
    cycle(container, {}, true);
    if ((await ask()) !== 'hello') throw new Error('the restored server does not answer');
  },

  'network by its path': async (container) => {
    // As with Podman: the engine makes the namespace and keeps it; a client stays connected.
    const name = `stasis-proof-${process.pid}`;
    const device = `sta${process.pid % 10_000_000}`;
    const lines = [
      `ip netns add ${name}`,
      `ip link add ${device} type veth peer name eth0 netns ${name}`,
      `ip addr add 198.18.78.1/30 dev ${device}`,
      `ip link set ${device} up`,
      `ip -n ${name} addr add 198.18.78.2/30 dev eth0`,
      `ip -n ${name} link set eth0 up`,
    ];
    must('sh', ['-ec', lines.join('\n')]);
    try {
      container.edit((config) => {
        const network = config.linux.namespaces.find(({ type }) => type === 'network');
        network.path = `/run/netns/${name}`;
        container.program(config, 'nc -l -p 80 -e cat &');
      });
      container.run();
      await staysConnected(container, 80, '198.18.78.2');
    } finally {
      must('ip', ['netns', 'del', name]);
    }
  },

  'shell job': async (container) => {
    container.edit((config) => {
      config.process.terminal = true;
      container.program(config, '(while read line; do echo "got $line"; done) &');
      config.process.args[2] = config.process.args[2].replace('>/data/count;', '| tee /data/count;');
    });
    let terminal = onTerminal(container, ['run', '--bundle', container.bundle, container.name]);
    try {
      container.waitFor(() => container.count() > 3, 'the container does not count');
      container.checkpoint('--shell-job');
      await terminal.ended;
      const paths = ['--bundle', container.bundle, '--image-path', container.images, '--work-path', container.work];
      terminal = onTerminal(container, ['restore', '--shell-job', ...paths, container.name]);
      await terminal.shows(new RegExp(`^${container.before + 5}\r$`, 'm'));
      container.goesOn();
    } finally {
      terminal.end();
    }
  },

  'killed in a checkpoint': async (container) => {
    container.run();
    container.checkpoint('--leave-running');
    let killed = 0;
    for (const moment of moments(container.took.checkpoint)) {
      killed += Number(await killedAt(moment, container, container.checkpointLine('--leave-running')));
      container.before = container.count();
      container.goesOn();
      container.exec('true');
    }
    if (killed === 0) throw new Error('criu was never killed');
    cycle(container, {}, true);
  },

  'killed in a restore': async (container) => {
    cycle(container);
    container.checkpoint();
    let killed = 0;
    for (const moment of moments(container.took.restore)) {
      if (await killedAt(moment, container, container.restoreLine())) {
        killed++;
        container.runc(['delete', '--force', container.name]);
        const count = container.count();
        pause(200);
        if (container.count() !== count) throw new Error('a part of it runs');
        const left = mountsBelow(container.place);
        if (left) throw new Error(`mounts are left:\n${left}`);
      } else {
        container.goesOn();
        container.runc(['delete', '--force', container.name]);
      }
    }
    if (killed === 0) throw new Error('criu was never killed');
    container.restore();
    container.goesOn();
  },

  'several processes': (container) => {
    const others = 'for i in 1 2 3 4 5; do sleep 1000 & done; mkfifo /data/fifo; cat /data/fifo >/dev/null &';
    container.edit((config) => container.program(config, others));
    cycle(container);
    const count = container.exec('sh', '-c', 'ls -d /proc/[0-9]* | wc -l').trim();
    if (Number(count) < 9) throw new Error(`${count} processes`);
  },

  'limits of a cgroup': (container) => {
    container.edit((config) => {
      config.linux.resources = { ...config.linux.resources, memory: { limit: 64 << 20 }, pids: { limit: 77 } };
    });
    cycle(container);
  },

  'connection to the machine': async (container) => {
    // In the network of the machine: the client stays connected while the container is away.
    const port = 20_000 + (process.pid % 20_000);
    container.edit((config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network');
      container.program(config, `nc -l -p ${port} -e cat &`);
    });
    container.run();
    await staysConnected(container, port, '127.0.0.1');
  },
};

/** Runs a container, unless it `runs` already, checkpoints it and restores it, and checks that it goes on. */
function cycle(container, { both = [] } = {}, runs = false) {
  if (!runs) container.run();
  container.checkpoint(...both);
  container.restore(...both);
  container.goesOn();
}

/** Runs runc in the foreground on a terminal of its own, as a person does. */
function onTerminal(container, args) {
  const line = ['runc', ...container.options, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qfec', line, '/dev/null'], {
    env: container.environment,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (data) => {
    text += data;
  });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const shows = async (pattern) => {
    for (const end = performance.now() + 10_000; !pattern.test(text); ) {
      if (performance.now() > end) throw new Error(`no ${pattern} on the terminal, only ${text.slice(-500)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return { ended, shows, end: () => child.kill('SIGKILL') };
}

/** Moments within a span of milliseconds, one in each of twelve slices. */
function moments(span) {
  return Array.from({ length: 12 }, (_, i) => ((i + Math.random()) / 12) * span);
}

/** Starts runc and kills the criu that it has started, if there is one at that moment. Returns whether there was. */
async function killedAt(milliseconds, container, args) {
  const runc = spawn('runc', [...container.options, ...args], { env: container.environment, stdio: 'ignore' });
  const ended = new Promise((resolve) => runc.on('exit', resolve));
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  const child = childrenOf(runc.pid).find((pid) => commOf(pid) === 'criu');
  if (child !== undefined) process.kill(child, 'SIGKILL');
  const code = await ended;
  return child !== undefined && code !== 0;
}

function childrenOf(pid) {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const texts = tasks.map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8'));
    return texts.flatMap((text) => text.trim().split(' ').filter(Boolean).map(Number));
  } catch {
    return []; // it has ended
  }
}

function commOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The mounts of the machine below a folder. */
function mountsBelow(folder) {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.filter((line) => line.includes(folder)).join('\n');
}

/** Checkpoints and restores a container that sends back what it gets, with a client connected all the time. */
async function staysConnected(container, port, address) {
  const client = connect(port, address);
  try {
    if ((await echo(client, 'before')) !== 'before') throw new Error('no connection');
    container.checkpoint('--tcp-established');
    client.write('meanwhile ');
    container.restore('--tcp-established');
    container.goesOn();
    const answer = await echo(client, 'after');
    if (answer !== 'meanwhile after') throw new Error(`the client got ${answer}`);
  } finally {
    client.destroy();
  }
}

/** Sends a text and waits for as much. */
function echo(client, text) {
  return new Promise((resolve, reject) => {
    const end = setTimeout(() => reject(new Error('no answer')), 5000);
    let got = '';
    const take = (data) => {
      got += data;
      if (!got.endsWith(text)) return;
      clearTimeout(end);
      client.off('data', take);
      resolve(got);
    };
    client.on('data', take).once('error', reject);
    client.write(text);
  });
}

/** Goes through the containers that were asked for; returns how many fail. */
async function main(args) {
  const at = args.indexOf('--criu');
  const criu = at < 0 ? join(home, 'dist/stasis') : resolve(args[at + 1] ?? '');
  const names = at < 0 ? args : args.toSpliced(at, 2);
  const unknown = names.find((name) => !Object.hasOwn(CONTAINERS, name));
  if (unknown) throw new Error(`there is no container "${unknown}"; there are ${Object.keys(CONTAINERS).join(', ')}`);
  if (!installPackages(PACKAGES.filter((name) => !isInstalled(name)))) throw new Error('packages are missing');
  if (!existsSync(criu) && !run(process.execPath, [join(home, 'scripts', 'build.mjs')])) return 1;
  const place = makePlace(criu);
  let failed = 0;
  try {
    for (const name of names.length > 0 ? names : Object.keys(CONTAINERS)) {
      const container = new Container(place, name.replaceAll(' ', '-'));
      try {
        await CONTAINERS[name](container);
        const { checkpoint = 0, restore = 0 } = container.took ?? {};
        console.log(`ok    ${name}: checkpoint ${checkpoint.toFixed(0)} ms, restore ${restore.toFixed(0)} ms`);
      } catch (error) {
        failed++;
        console.log(`FAIL  ${name}: ${error.message}`);
      } finally {
        container.end();
      }
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
  return failed;
}

try {
  process.exitCode = (await main(process.argv.slice(2))) > 0 ? 1 : 0;
} catch (error) {
  console.error(`Error: ${error.message}`);
  process.exitCode = 1;
}
